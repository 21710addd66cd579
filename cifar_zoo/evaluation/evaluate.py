"""Accuracy and loss on labeled images, with and without test-time augmentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import Split, check_split, load_cifar10
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation import metrics
from cifar_zoo.evaluation.outputs import gives_logits

# The views of test-time augmentation, of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024,
# arXiv:2404.00498): weight, pixels by which the crop moves down and to the right, whether it is mirrored.
VIEWS = (
    (1 / 4, 0, False),
    (1 / 4, 0, True),
    (1 / 8, -1, False),
    (1 / 8, -1, True),
    (1 / 8, 1, False),
    (1 / 8, 1, True),
)


def evaluate(
    model: keras.Model,
    data: Split | str | Path | None = None,
    *,
    batch_size: int = 100,
    tta: bool = False,
    from_logits: bool | None = None,
) -> dict[str, Any]:
    """Measure a network on labeled images.

    Args:
        model: A functional or Sequential model from (batch, height, width, 3) pixels 0..255 to probabilities or logits
            (batch, classes). Larger images are cropped to their center.
        data: `(images, labels)`, or a source for `load_cifar10`, whose test images are used.
        batch_size: Integer. Images a step. On PyTorch the outputs of all layers are in memory together: for
            se_resnet50 and 100 images the process takes 6 GB.
        tta: Boolean. Whether to measure with test-time augmentation as well: the log-probabilities averaged over the
            six `VIEWS` (flips and shifts) of each image, which takes six times as long.
        from_logits: Boolean or None. Whether the model gives logits. None decides by its last activation: softmax and
            sigmoid give probabilities, anything else gives logits.

    Returns:
        A dict with `accuracy`, in 0..1; `loss`, the mean cross-entropy in nats; `correct` and `images`, two counts.
        With `tta` also `tta_accuracy`, `tta_loss` and `tta_correct`; the other figures do not depend on it.

    Raises:
        CifarZooError: If the data is not images with labels, the images are smaller than the network's input, or
            a label has no score.
    """
    if data is None or isinstance(data, (str, os.PathLike)):
        x, y = load_cifar10(data)[1]
    else:
        x, y = check_split(data, "data:")
    if len(model.output_shape) != 2 or model.output_shape[1] <= int(y.max()):
        raise CifarZooError(
            f"the labels go up to {y.max()}, and {model.name} gives {model.output_shape[1:]} scores for an image"
        )
    logits = predict_logits(model, x, batch_size=batch_size, from_logits=from_logits)
    figures = {**_figures(logits, y), "images": len(y)}
    if tta:
        averaged = VIEWS[0][0] * logits
        for weight, shift, mirrored in VIEWS[1:]:
            seen = view(x, *model.input_shape[1:3], shift=shift, mirrored=mirrored)
            averaged += weight * predict_logits(model, seen, batch_size=batch_size, from_logits=from_logits)
            del seen  # before the next is made: one view at a time is in memory
        figures |= {f"tta_{name}": figure for name, figure in _figures(averaged, y).items()}
    return figures


def _figures(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    return {
        "accuracy": metrics.accuracy(logits, y),
        "loss": metrics.cross_entropy(logits, y),
        "correct": int(metrics.correct(logits, y).sum()),
    }


def predict_logits(
    model: keras.Model, images: np.ndarray, *, batch_size: int = 100, from_logits: bool | None = None
) -> np.ndarray:
    """The logits of a network for images (n, rows, columns, channels), cropped to the center of its input size.

    Args:
        model: A functional or Sequential model that gives logits or probabilities (n, classes).
        images: Pixels 0..255.
        batch_size: Integer. Images a step.
        from_logits: Boolean or None, as in `evaluate`.

    Returns: float64 (n, classes). For a network that gives probabilities they are its log-probabilities, which differ
        from its own logits by one number an image: their softmax, and that of any average of them, is the same.
    """
    batch_size = min(integer("batch_size", batch_size), max(len(images), 1))
    cropped = center_crop(np.asarray(images), *model.input_shape[1:3])
    outputs = np.asarray(model.predict(cropped, batch_size=batch_size, verbose=0))
    if gives_logits(model) if from_logits is None else from_logits:
        return outputs.astype("float64")
    return metrics.to_logits(outputs)


def view(
    images: np.ndarray, height: int | None = None, width: int | None = None, *, shift: int, mirrored: bool
) -> np.ndarray:
    """One view of images for test-time augmentation: their center, shifted and mirrored.

    Args:
        images: Array (n, rows, columns, channels) of any dtype.
        height: Integer or None. Height of the result; None keeps that of the images.
        width: Integer or None, likewise.
        shift: -1, 0 or 1. Pixels by which the crop moves down and to the right. Beyond the edge of the images lies
            their reflection; where the crop is smaller than the images, it moves onto their own pixels.
        mirrored: Boolean. Whether left and right are exchanged, after the crop.

    Returns: (n, height, width, channels), a copy.

    Raises:
        CifarZooError: if the images are smaller than height x width.
    """
    n, rows, columns, channels = images.shape
    # The indices of the pixels are padded and cropped, not the pixels: no padded copy of all images is made.
    pixels = np.pad(np.arange(rows * columns).reshape(1, rows, columns), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    moved = pixels[:, 1 + shift : 1 + shift + rows, 1 + shift : 1 + shift + columns]
    (chosen,) = center_crop(moved, height, width)
    return images.reshape(n, rows * columns, channels).take(chosen[:, ::-1] if mirrored else chosen, axis=1)
