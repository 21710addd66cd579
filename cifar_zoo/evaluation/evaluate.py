"""Accuracy and loss on labeled images, with and without test-time augmentation."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import Dataset, Split, check_split, load_cifar10
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation import metrics
from cifar_zoo.evaluation.onnx_model import OnnxModel, is_onnx
from cifar_zoo.evaluation.outputs import channels_and_classes, gives_logits
from cifar_zoo.lazy import keras
from cifar_zoo.registry import create_model

_log = logging.getLogger(__name__)

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
    model: keras.Model | OnnxModel | str | Path,
    data: Split | Dataset | Iterable[Split] | str | Path | None = None,
    *,
    weights: str | Path = "cifar10",
    batch_size: int = 100,
    tta: bool = False,
    from_logits: bool | None = None,
) -> dict[str, Any]:
    """Measure a network on labeled images.

    Args:
        model: A registered name; the path of an exported .onnx file; or a functional or Sequential model from (batch,
            height, width, channels) pixels 0..255 to probabilities or logits (batch, classes). Larger images are
            cropped to their center.
        data: `(images, labels)`; an iterable of such batches, for example a `tf.data.Dataset`; or a dataset as
            `load_cifar10` returns it, or a source for `load_cifar10`, of which the test images are used. Pixels are
            whole numbers 0..255, and labels are integers from 0 to classes - 1.
        weights: For a name: "cifar10", a tag or a path.
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
        CifarZooError: If the data is not images with labels, if the images are smaller than the network's input or have
            another number of channels, or if a label has no score.
    """
    model = load(model, weights)
    channels, classes = channels_and_classes(model)
    x, y = check_split(_labeled_images(data), "data:", channels=channels, classes=classes)
    logits = predict_logits(model, x, batch_size=batch_size, from_logits=from_logits)
    if wrong := int((~np.isfinite(logits).all(axis=-1)).sum()):
        _log.warning("%s gives scores for %d of %d images that are not finite", model.name, wrong, len(y))
    figures = {**_figures(logits, y), "images": len(y)}
    if tta:
        averaged = VIEWS[0][0] * logits
        for weight, shift, mirrored in VIEWS[1:]:
            seen = view(x, *model.input_shape[1:3], shift=shift, mirrored=mirrored)
            averaged += weight * predict_logits(model, seen, batch_size=batch_size, from_logits=from_logits)
            del seen  # before the next is made: one view at a time is in memory
        figures |= {f"tta_{name}": figure for name, figure in _figures(averaged, y).items()}
    return figures


def load(model: keras.Model | OnnxModel | str | Path, weights: str | Path) -> keras.Model | OnnxModel:
    """Return the network that a registered name or the path of an .onnx file stands for, or the given network."""
    if is_onnx(model):
        return OnnxModel(model)
    return create_model(model, weights=weights) if isinstance(model, str) else model


def _labeled_images(data: Any) -> Any:
    """Return the images and labels in one of the forms that `evaluate` accepts, to be checked by `check_split`."""
    if data is None or isinstance(data, (str, Path)):
        data = load_cifar10(data)
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(p, tuple) and len(p) == 2 for p in data):
        data = data[1]
    if "keras" in sys.modules and isinstance(data, keras.utils.PyDataset):
        data = map(data.__getitem__, range(len(data)))
    if (count := getattr(data, "cardinality", None)) and int(count()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise CifarZooError("data: the dataset has no end; use its method `take`")
    if isinstance(data, Iterable) and not isinstance(data, (list, tuple, Mapping, np.ndarray)):
        with contextlib.suppress(TypeError, ValueError):  # not pairs, or arrays that cannot be joined
            data = [np.concatenate(arrays) for arrays in zip(*data, strict=True)]
    try:
        images, labels = data
        images = np.asarray(images)
    except (TypeError, ValueError):
        return data
    largest = images.max() if images.dtype.kind in "iuf" and images.size else np.inf
    scaled = images.dtype.kind == "f" and largest <= 1  # pixels that were divided by 255, even if all are zero
    if largest <= 255 and not scaled and images.min() >= 0:
        pixels = images.astype("uint8", copy=False)
        images = pixels if (pixels == images).all() else images
    return images, labels


def _figures(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    return {
        "accuracy": metrics.accuracy(logits, y),
        "loss": metrics.cross_entropy(logits, y),
        "correct": int(metrics.correct(logits, y).sum()),
    }


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
