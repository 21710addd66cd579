"""What a network gives: logits or probabilities."""

from __future__ import annotations

import contextlib
from typing import Any

import keras

from cifar_zoo.errors import CifarZooError

# Layers that leave class scores what they are, and activations after which they are neither logits nor probabilities.
NEUTRAL = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout, keras.layers.Identity)
REFUSED = ("sigmoid", "hard_sigmoid")


def logits_model(model: keras.Model) -> tuple[keras.Model, bool]:
    """The part of a network that gives its class scores, and whether these are logits.

    Where the network ends in a softmax layer, that layer is left out: a cross-entropy is exact only on logits. The last
    activation decides, never values.

    Args:
        model: a functional or Sequential model with one output (batch, classes).

    Returns: a model with the same inputs and weights, and True where it gives logits, False for probabilities.

    Raises:
        CifarZooError: if the network ends in a sigmoid, which gives neither.
    """
    last = _last_operation(model)
    activation = _activation(last)
    if activation in REFUSED:
        raise CifarZooError(
            f"{model.name} ends in {activation}; it must end in logits or in a softmax over the classes"
        )
    if activation != "softmax":
        return model, True
    if last is model.layers[-1] and isinstance(last, (keras.layers.Softmax, keras.layers.Activation)):
        with contextlib.suppress(ValueError, AttributeError):  # a layer that other networks use too has several inputs
            return keras.Model(model.inputs[0], last.input), True
    return model, False


def _last_operation(model: keras.Model) -> Any:
    """The last layer or operation of a network that changes its scores, within nested networks too."""
    for last in reversed(getattr(model, "operations", model.layers)):
        if isinstance(last, keras.Model):
            return _last_operation(last)
        if not isinstance(last, NEUTRAL) and _activation(last) != "linear":
            return last
    return None


def _activation(operation: Any) -> str | None:
    """The name of the activation that a layer ends in, or that an operation is; None where it has none."""
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if not isinstance(operation, keras.layers.Layer):
        return {"Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "hard_sigmoid"}.get(type(operation).__name__)
    activation = getattr(operation, "activation", None)
    return None if activation is None else getattr(activation, "__name__", type(activation).__name__)
