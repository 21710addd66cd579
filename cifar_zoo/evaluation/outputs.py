"""Whether the outputs of a model are logits or probabilities, by its last activation."""

from __future__ import annotations

import keras

# Layers that only pass on what the activation before them gave, perhaps in another shape.
_TRANSPARENT = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Reshape,
)
_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid, keras.activations.hard_sigmoid)


def gives_logits(model: keras.Model) -> bool:
    """Whether a functional or Sequential model gives logits: its last activation is no softmax and no sigmoid.

    The values that it gives say nothing: those of a model without an activation may add up to one, too.
    """
    last = _last_layer(model)
    return not isinstance(last, keras.layers.Softmax) and getattr(last, "activation", None) not in _PROBABILITIES


def logits_model(model: keras.Model) -> tuple[keras.Model, bool]:
    """The part of a model that gives its class scores, and whether these are logits.

    Where the model ends in a softmax layer, the part is what comes before it, since a loss is exact only on logits.
    """
    last = model.layers[-1]
    softmax = isinstance(last, keras.layers.Activation) and last.activation is keras.activations.softmax
    if isinstance(last, keras.layers.Softmax) or softmax:
        return keras.Model(model.inputs[0], last.input), True
    return model, gives_logits(model)


def _last_layer(model: keras.Model) -> keras.layers.Layer | None:
    """The layer that the outputs of a model come from, inside of nested models too."""
    for layer in reversed(model.layers):
        linear = isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
        if not isinstance(layer, _TRANSPARENT) and not linear:
            return _last_layer(layer) if isinstance(layer, keras.Model) else layer
    return None
