"""What a recipe changes in a network for the time of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from cifar_zoo.layers.parts import parts


@contextmanager
def computing_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Let the inner layers of a network compute in another precision for a while.

    What comes before the first layer with weights (preprocessing) stays as it is, and so do the classifier (by its
    name, and the last layer with weights in any case) and what comes after it. The weights are float32 in either case.
    """
    layers = flat_layers(model)
    weighted = [i for i, layer in enumerate(layers) if layer.weights]
    between = layers[weighted[0] : weighted[-1]] if weighted else []
    inner = [layer for layer in between if not layer.name.startswith("classifier")]
    before = [layer.dtype_policy for layer in inner]
    for layer in inner:
        layer.dtype_policy = precision
    try:
        yield
    finally:
        for layer, policy in zip(inner, before, strict=True):
            layer.dtype_policy = policy


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a network in order, those inside of models and of other layers among them."""
    flat: list[keras.layers.Layer] = []
    for layer in model.layers:
        flat += flat_layers(layer) if isinstance(layer, keras.Model) else [layer, *parts(layer)]
    return flat


@contextmanager
def dropping(model: keras.Model, rate: float | None) -> Iterator[None]:
    """Give all dropout layers of a network another rate for a while; None leaves them as they are."""
    layers = dropout_layers(model)
    before = [layer.rate for layer in layers]
    for layer in layers:
        layer.rate = layer.rate if rate is None else rate
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.rate = own


def dropout_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """The layers of a network that drop anything."""
    return [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]


def hidden_dense_kernels(model: keras.Model) -> list[keras.Variable]:
    """The kernels of the dense layers before the last one."""
    return [layer.kernel for layer in flat_layers(model) if isinstance(layer, keras.layers.Dense)][:-1]
