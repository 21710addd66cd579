"""Accuracy on the test pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.data.cifar10 import Split, check_split, load_cifar10
from cifar_zoo.data.pictures import centre_crop
from cifar_zoo.errors import CifarZooError


def evaluate(model: keras.Model, data: Split | str | Path | None = None, *, batch_size: int = 500) -> dict[str, Any]:
    """Measure a network on labelled pictures.

    Args:
        model: from (batch, height, width, 3) pixels 0..255 to probabilities or logits (batch, classes). Larger
            pictures are cropped to the middle.
        data: (pictures, labels), or a source for `load_cifar10`, of which the test pictures are taken.
        batch_size: pictures a step.

    Returns: accuracy, in 0..1; loss, the mean cross-entropy in nats; correct and pictures, their numbers.
    """
    x, y = check_split(data, "data:") if isinstance(data, tuple) else load_cifar10(data)[1]
    probabilities = as_probabilities(predict_pictures(model, x, batch_size=batch_size))
    if probabilities.ndim != 2 or probabilities.shape[1] <= int(y.max()):
        raise CifarZooError(f"the labels go up to {y.max()}, and {model.name} gives {probabilities.shape[1:]} scores")
    correct = int(np.sum(probabilities.argmax(axis=1) == y))
    chosen = np.take_along_axis(probabilities, y[:, None].astype(int), axis=1)
    loss = float(-np.log(np.maximum(chosen.astype("float64"), 1e-12)).mean())
    return {"accuracy": correct / len(y), "loss": loss, "correct": correct, "pictures": len(y)}


def predict_pictures(model: keras.Model, pictures: np.ndarray, *, batch_size: int = 500) -> np.ndarray:
    """A network's output for pictures (n, rows, columns, channels), cropped in the middle to the network's input."""
    cropped = centre_crop(np.asarray(pictures), *model.input_shape[1:3])
    return np.asarray(model.predict(cropped, batch_size=batch_size, verbose=0))


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether all rows are non-negative and add up to one."""
    return bool(np.all(scores >= 0) and np.allclose(scores.sum(axis=-1), 1, atol=1e-3))


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Class scores (n, classes) as probabilities: as they are, or by softmax where they are logits."""
    if are_probabilities(scores):
        return scores
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
