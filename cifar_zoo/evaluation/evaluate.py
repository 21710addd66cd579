"""Accuracy on the test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.data.cifar10 import Split, check_split, load_cifar10
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError

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
    model: keras.Model, data: Split | str | Path | None = None, *, batch_size: int = 500, tta: bool = False
) -> dict[str, Any]:
    """Measure a network on labeled images.

    Args:
        model: from (batch, height, width, 3) pixels 0..255 to probabilities or logits (batch, classes). Larger
            images are cropped to the middle.
        data: (images, labels), or a source for `load_cifar10`, of which the test images are taken.
        batch_size: images a step.
        tta: measure with test-time augmentation, too: the log-probabilities averaged over the six `VIEWS` (flip and
            shift) of each image, which takes six times as long.

    Returns: accuracy, in 0..1; loss, the mean cross-entropy in nats; correct and images, their numbers. With `tta`
        besides tta_accuracy, tta_loss and tta_correct; the other figures are the same with and without.

    Raises:
        CifarZooError: if the data is not images with labels, the images are smaller than the network's input, or
            a label has no score.
    """
    x, y = check_split(data, "data:") if isinstance(data, tuple) else load_cifar10(data)[1]
    scores = predict_images(model, x, batch_size=batch_size)
    probabilities = as_probabilities(scores)
    if probabilities.ndim != 2 or probabilities.shape[1] <= int(y.max()):
        raise CifarZooError(f"the labels go up to {y.max()}, and {model.name} gives {probabilities.shape[1:]} scores")
    figures = {**_figures(probabilities, y), "images": len(y)}
    if tta:
        averaged = _average_over_views(model, x, scores, batch_size)
        figures |= {f"tta_{name}": figure for name, figure in _figures(averaged, y).items()}
    return figures


def _figures(probabilities: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Accuracy, loss and number right of probabilities (n, classes) for the labels (n,)."""
    correct = int(np.sum(probabilities.argmax(axis=1) == y))
    chosen = np.take_along_axis(probabilities, y[:, None].astype(int), axis=1)
    loss = float(-np.log(np.maximum(chosen.astype("float64"), 1e-12)).mean())
    return {"accuracy": correct / len(y), "loss": loss, "correct": correct}


def _average_over_views(model: keras.Model, images: np.ndarray, plain: np.ndarray, batch_size: int) -> np.ndarray:
    """Probabilities (n, classes) from the scores over all views; `plain` are those of the first, (n, classes)."""
    probabilities = are_probabilities(plain)  # asked once, so that all views are averaged in the same way

    def logits(scores: np.ndarray) -> np.ndarray:
        # A network's own logits differ from its log-probabilities by one number an image and view. So does their
        # average, which leaves the order of the classes and, through softmax, their probabilities the same.
        scores = scores.astype("float64")
        return np.log(np.maximum(scores, np.finfo("float32").tiny)) if probabilities else scores

    average = VIEWS[0][0] * logits(plain)
    for weight, shift, mirrored in VIEWS[1:]:
        seen = view(images, *model.input_shape[1:3], shift=shift, mirrored=mirrored)
        average += weight * logits(predict_images(model, seen, batch_size=batch_size))
        del seen  # before the next is made: one view at a time is in memory
    return softmax(average)


def view(
    images: np.ndarray, height: int | None = None, width: int | None = None, *, shift: int, mirrored: bool
) -> np.ndarray:
    """One view of images for test-time augmentation: the middle, moved and mirrored.

    Args:
        images: (n, rows, columns, channels), of any type.
        height, width: of the result; None keeps a side.
        shift: -1, 0 or 1, pixels by which the crop moves down and to the right. Beyond the edge of the images lies
            their reflection; where the crop is smaller than the images, it moves onto their own pixels.
        mirrored: whether left and right are exchanged, after the crop.

    Returns: (n, height, width, channels), a copy.

    Raises:
        CifarZooError: if the images are smaller than height x width.
    """
    n, rows, columns, channels = images.shape
    # The numbers of the pixels are padded and cropped in place of the pixels: no padded copy of all images is made.
    pixels = np.pad(np.arange(rows * columns).reshape(1, rows, columns), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    moved = pixels[:, 1 + shift : 1 + shift + rows, 1 + shift : 1 + shift + columns]
    (chosen,) = center_crop(moved, height, width)
    return images.reshape(n, rows * columns, channels).take(chosen[:, ::-1] if mirrored else chosen, axis=1)


def predict_images(model: keras.Model, images: np.ndarray, *, batch_size: int = 500) -> np.ndarray:
    """A network's output for images (n, rows, columns, channels), cropped in the middle to the network's input."""
    cropped = center_crop(np.asarray(images), *model.input_shape[1:3])
    return np.asarray(model.predict(cropped, batch_size=batch_size, verbose=0))


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether all rows are non-negative and add up to one."""
    return bool(np.all(scores >= 0) and np.allclose(scores.sum(axis=-1), 1, atol=1e-3))


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Class scores (n, classes) as probabilities: as they are, or by softmax where they are logits."""
    if are_probabilities(scores):
        return scores
    return softmax(scores)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits (n, classes) as probabilities."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
