"""What a recipe changes in a network for the time of its training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from cifar_zoo.layers.patch_whitening import PatchWhitening
from cifar_zoo.layers.sublayers import sublayers


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
    _forget_compiled(model)
    try:
        with changed([(layer, precision) for layer in inner], "dtype_policy"):
            yield
    finally:
        _forget_compiled(model)


def _forget_compiled(model: keras.Model) -> None:
    """Let a network, and those within it, be compiled anew: what is compiled keeps the precision of its time."""
    model.train_function = model.test_function = model.predict_function = None
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _forget_compiled(layer)


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a network in order, those inside of models and of other layers among them."""
    flat: list[keras.layers.Layer] = []
    for layer in model.layers:
        flat += flat_layers(layer) if isinstance(layer, keras.Model) else [layer, *sublayers(layer)]
    return flat


@contextmanager
def dropping(model: keras.Model, rate: float | None) -> Iterator[None]:
    """Give all dropout layers of a network another rate for a while; None leaves them as they are."""
    with changed([] if rate is None else [(layer, rate) for layer in dropout_layers(model)], "rate"):
        yield


@contextmanager
def changed(values: Sequence[tuple[keras.layers.Layer, Any]], attribute: str) -> Iterator[None]:
    """Give an attribute of layers other values for a while."""
    before = [getattr(layer, attribute) for layer, _ in values]
    for layer, value in values:
        setattr(layer, attribute, value)
    try:
        yield
    finally:
        for (layer, _), own in zip(values, before, strict=True):
            setattr(layer, attribute, own)


def dropout_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """The layers of a network that drop anything."""
    return [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]


def adapt_whitening(model: keras.Model, images: np.ndarray) -> None:
    """Fit those whitening layers of a network that have not been, to some of the training images."""
    for layer in whitening_layers(model):
        if not layer.adapted:
            layer.adapt(keras.Model(model.inputs, layer.input).predict(images, batch_size=500, verbose=0))


def whitening_layers(model: keras.Model) -> list[PatchWhitening]:
    """The layers of a network that whiten patches."""
    return [layer for layer in flat_layers(model) if isinstance(layer, PatchWhitening)]


def batch_norm_biases(model: keras.Model) -> list[keras.Variable]:
    """The trained biases of the batch norm of a network."""
    norms = [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    return [layer.beta for layer in norms if layer.center and layer.trainable]


def hidden_dense_kernels(model: keras.Model) -> list[keras.Variable]:
    """The kernels of the dense layers before the last one."""
    return [layer.kernel for layer in flat_layers(model) if isinstance(layer, keras.layers.Dense)][:-1]
