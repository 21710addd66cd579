"""Temporary changes to a network for its training, and access to its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.distribution import predict
from cifar_zoo.layers.patch_whitening import PatchWhitening
from cifar_zoo.layers.sublayers import sublayers


@contextmanager
def computing_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Set the dtype policy of the inner layers of a network within this context.

    The policy does not change for the preprocessing (the layers before the first one with weights), for the classifier
    (layers whose name starts with "classifier", and the last layer with weights) and for the layers after it. The
    weights are always float32.

    Args:
        model: `keras.Model`.
        precision: String. "float32" or "mixed_bfloat16".
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
    """Discard the compiled functions of a network and its nested networks, which keep their old dtype policies."""
    model.train_function = model.test_function = model.predict_function = None
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _forget_compiled(layer)


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a network in order, including those nested in models and in other layers."""
    flat: list[keras.layers.Layer] = []
    for layer in model.layers:
        flat += flat_layers(layer) if isinstance(layer, keras.Model) else [layer, *sublayers(layer)]
    return flat


@contextmanager
def dropping(model: keras.Model, rate: float | None) -> Iterator[None]:
    """Set the rate of all dropout layers of a network within this context. None leaves the rates unchanged."""
    with changed([] if rate is None else [(layer, rate) for layer in dropout_layers(model)], "rate"):
        yield


@contextmanager
def changed(values: Sequence[tuple[keras.layers.Layer, Any]], attribute: str) -> Iterator[None]:
    """Set an attribute of layers to new values within this context."""
    before = [getattr(layer, attribute) for layer, _ in values]
    for layer, value in values:
        setattr(layer, attribute, value)
    try:
        yield
    finally:
        for (layer, _), own in zip(values, before, strict=True):
            setattr(layer, attribute, own)


def dropout_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """Return the dropout layers of a network whose rate is positive."""
    return [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.Dropout) and layer.rate > 0]


def adapt_whitening(model: keras.Model, images: np.ndarray) -> None:
    """Adapt the whitening layers of a network, except those that are adapted already, to training images."""
    for layer in whitening_layers(model):
        if not layer.adapted:
            layer.adapt(predict(keras.Model(model.inputs, layer.input), images, 500))


def whitening_layers(model: keras.Model) -> list[PatchWhitening]:
    """Return the `PatchWhitening` layers of a network."""
    return [layer for layer in flat_layers(model) if isinstance(layer, PatchWhitening)]


def batch_norm_biases(model: keras.Model) -> list[keras.Variable]:
    """Return the trainable biases (beta) of the batch-norm layers of a network."""
    norms = [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    return [layer.beta for layer in norms if layer.center and layer.trainable]


def hidden_dense_kernels(model: keras.Model) -> list[keras.Variable]:
    """Return the kernels of all dense layers except the last."""
    return [layer.kernel for layer in flat_layers(model) if isinstance(layer, keras.layers.Dense)][:-1]
