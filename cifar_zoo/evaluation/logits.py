"""The logits and features that a network gives for images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.images import center_crop
from cifar_zoo.evaluation import metrics
from cifar_zoo.evaluation.keras_file import is_keras_file, load_keras_file
from cifar_zoo.evaluation.onnx_model import OnnxModel, is_onnx
from cifar_zoo.evaluation.outputs import features_model, gives_logits
from cifar_zoo.lazy import keras
from cifar_zoo.registry import create_model


def load(model: keras.Model | OnnxModel | str | Path, weights: str | Path) -> keras.Model | OnnxModel:
    """Return the network that a name or the path of an .onnx or .keras file stands for, or the given network."""
    if is_onnx(model):
        return OnnxModel(model)
    if is_keras_file(model):
        return load_keras_file(model)
    return create_model(model, weights=weights) if isinstance(model, str) else model


def predict_logits(
    model: keras.Model | OnnxModel, images: np.ndarray, *, batch_size: int = 100, from_logits: bool | None = None
) -> np.ndarray:
    """The logits of a network for images (n, rows, columns, channels), cropped to the center of its input size.

    Args:
        model: A functional or Sequential model, or an `OnnxModel`, that gives logits or probabilities (n, classes).
        images: Pixels 0..255.
        batch_size: Integer. Images a step.
        from_logits: Boolean or None, as in `evaluate`.

    Returns: float64 (n, classes). For a network that gives probabilities they are its log-probabilities, which differ
        from its own logits by one number an image: their softmax, and that of any average of them, is the same.
    """
    batch_size = min(integer("batch_size", batch_size), max(len(images), 1))
    cropped = center_crop(np.asarray(images), *model.input_shape[1:3])
    outputs = np.asarray(_predict(model, cropped, batch_size))
    if gives_logits(model) if from_logits is None else from_logits:
        return outputs.astype("float64")
    return metrics.to_logits(outputs)


def predict_features(model: keras.Model, images: np.ndarray, *, batch_size: int = 100) -> np.ndarray:
    """The inputs of the classifier of a network for images (n, rows, columns, channels): float32 (n, features).

    Args:
        model: A functional or Sequential model.
        images: Pixels 0..255, cropped to the center of the network's input size.
        batch_size: Integer. Images a step.

    Raises:
        CifarZooError: If the network has no classifier that can be found, or the images are too small.
    """
    cropped = center_crop(np.asarray(images), *model.input_shape[1:3])
    return np.asarray(_predict(features_model(model), cropped, batch_size))


def _predict(model: keras.Model | OnnxModel, x: np.ndarray, batch_size: int) -> np.ndarray:
    if isinstance(model, OnnxModel):
        return model.predict(x, batch_size=batch_size)
    from cifar_zoo.backend.distribution import predict  # imports Keras, which .onnx files do without

    found: np.ndarray = predict(model, x, batch_size)
    return found
