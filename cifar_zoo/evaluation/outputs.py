"""What a model gives: scores of how many classes, and whether they are logits, by its last activation."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.onnx_model import OnnxModel
from cifar_zoo.lazy import keras

# Classes of layers that only pass on what the activation before them gave, perhaps in another shape.
_TRANSPARENT = {"ActivityRegularization", "Dropout", "Flatten", "Identity", "Reshape"}
# Of layers the names of their activations, of operations such as `keras.ops.softmax` the names of their classes.
_PROBABILITIES = {"softmax", "sigmoid", "hard_sigmoid", "Softmax", "Sigmoid", "HardSigmoid"}


def channels_and_classes(model: keras.Model | OnnxModel) -> tuple[int, int]:
    """Return the number of channels that a model takes and the number of classes that it gives scores for.

    Raises:
        CifarZooError: If it is not a functional or Sequential model from images to class scores.
    """
    taken, given = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not (isinstance(taken, tuple) and len(taken) == 4 and isinstance(given, tuple) and len(given) == 2):
        raise CifarZooError(
            f"{getattr(model, 'name', repr(model))} must be a functional or Sequential model from images (batch, "
            f"height, width, channels) to class scores (batch, classes); it takes {taken} and gives {given}"
        )
    return taken[-1], given[-1]


def gives_logits(model: keras.Model | OnnxModel) -> bool:
    """Whether a functional or Sequential model gives logits: its last activation is neither softmax nor sigmoid.

    The outputs of a model are not looked at: without an activation they may add up to one as well.
    """
    if isinstance(model, OnnxModel):
        return model.gives_logits
    return _activation(_last_operation(model)) not in _PROBABILITIES


def logits_model(model: keras.Model) -> tuple[keras.Model, bool]:
    """The part of a model that gives its class scores, and whether these are logits.

    Where the model ends in a softmax layer, the part is what comes before it, since a loss is exact only on logits.
    """
    last = model.layers[-1]
    if isinstance(last, (keras.layers.Softmax, keras.layers.Activation)) and _activation(last).lower() == "softmax":
        with contextlib.suppress(AttributeError, ValueError):  # a layer that several models share has several inputs
            return keras.Model(model.inputs[0], last.input), True
    return model, gives_logits(model)


def features_model(model: keras.Model) -> keras.Model:
    """The part of a model up to the input of its classifier, averaged over the positions of a feature map.

    The classifier is the first layer whose name starts with "classifier", as in the networks of this package, or else
    the last layer with weights.

    Raises:
        CifarZooError: If it has no such layer, or the layer has several inputs.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    named = [layer for layer in weighted if layer.name.startswith("classifier")]
    if not weighted:
        raise CifarZooError(f"{model.name} has no layer with weights that could be its classifier")
    try:
        x = (named or weighted[-1:])[0].input
        if len(x.shape) == 4:
            x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
        return keras.Model(model.inputs[0], x)
    except (AttributeError, ValueError) as error:  # a list of inputs, or a layer that is called several times
        raise CifarZooError(f"{model.name}: the input of its classifier cannot be found: {error}") from error


def class_names_of(model: keras.Model | OnnxModel | str | Path) -> list[str] | None:
    """The names of the classes that a model keeps, in a `ClassScores` layer at its end or in an ONNX file, or None."""
    if isinstance(model, OnnxModel):
        return model.class_names
    layers = getattr(model, "layers", None)
    return getattr(layers[-1], "class_names", None) if layers else None


def _last_operation(model: keras.Model) -> Any:
    """The layer or operation that the outputs of a model come from, inside of nested models too."""
    for last in reversed(getattr(model, "operations", model.layers)):
        if isinstance(last, keras.Model):
            return _last_operation(last)
        if type(last).__name__ not in _TRANSPARENT and _activation(last) != "linear":
            return last
    return None


def _activation(operation: Any) -> str:
    """The name of the activation of a layer, or else the name of its class or that of the operation."""
    activation = getattr(operation, "activation", None)
    named = type(operation) if activation is None or isinstance(operation, keras.layers.Softmax) else activation
    return getattr(named, "__name__", type(named).__name__)
