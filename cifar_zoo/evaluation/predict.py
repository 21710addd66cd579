"""Naming what images show."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import CLASSES
from cifar_zoo.data.images import from_pillow, read_image
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.evaluate import load, predict_logits
from cifar_zoo.evaluation.metrics import softmax
from cifar_zoo.evaluation.onnx_model import OnnxModel, is_onnx
from cifar_zoo.lazy import keras

if TYPE_CHECKING:
    from PIL import Image

_log = logging.getLogger(__name__)
_AT_ONCE = 256  # images in memory


def predict(
    model: keras.Model | OnnxModel | str | Path,
    images: Iterable[str | Path | np.ndarray | Image.Image],
    *,
    weights: str | Path = "cifar10",
    top: int = 3,
    from_logits: bool | None = None,
    class_names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Name the most probable classes of images.

    Args:
        model: A registered name; the path of an exported .onnx file; or a network that gives a probability or logit for
            each class.
        images: Images of any size: paths of files, read as `read_image` does; arrays of pixels 0..255, uint8 (rows,
            columns, 3); or images of Pillow. Any iterable of these, so also an array (n, rows, columns, 3).
        weights: For a name: "cifar10", a tag or a path.
        top: Integer from 1 to the number of classes. Number of classes to name.
        from_logits: Boolean or None. Whether the network gives logits. None decides by its last activation: softmax and
            sigmoid give probabilities, anything else gives logits.
        class_names: The names of the classes, in the order of the network's outputs. By default those that an .onnx
            file holds, or else those of CIFAR-10.

    Returns:
        For each image `{"path": ..., "classes": [{"class": ..., "probability": ...}, ...]}`, the best class first. The
        path is None unless the image is a file. An image whose scores are not finite has no classes, and a warning
        names it.

    Raises:
        CifarZooError: If there are no images, one cannot be read, or the network does not give one score a class.
    """
    if is_onnx(model):
        model = OnnxModel(model)
    stored = model.class_names if isinstance(model, OnnxModel) else None
    class_names = list(class_names if class_names is not None else stored or CLASSES)
    top = integer("top", top, at_least=None)
    if not 1 <= top <= len(class_names):
        raise CifarZooError(f"top must be from 1 to {len(class_names)}, not {top}")
    if isinstance(images, (str, os.PathLike)) or not isinstance(images, Iterable):
        raise CifarZooError(f"images must be a list or another iterable of images, not {images!r}")
    remaining = iter(images)
    results: list[dict[str, Any]] = []
    while chunk := list(islice(remaining, _AT_ONCE)):
        names = [_name(image, len(results) + number) for number, image in enumerate(chunk)]
        pixels = np.stack([_pixels(image, name) for image, name in zip(chunk, names, strict=True)])
        model = load(model, weights)  # after the first images have been read
        if model.output_shape != (None, len(class_names)):
            raise CifarZooError(
                f"{model.name} gives {model.output_shape}, not the scores of {len(class_names)} classes; "
                "class_names names those of your own network"
            )
        for image, name, scores in zip(
            chunk, names, softmax(predict_logits(model, pixels, from_logits=from_logits)), strict=True
        ):
            best = np.argsort(-scores, kind="stable")[:top]
            if not np.isfinite(scores).all():
                _log.warning("%s gives scores for %s that are not finite", model.name, name)
                best = best[:0]
            classes = [{"class": class_names[i], "probability": round(float(scores[i]), 6)} for i in best]
            path = str(image) if isinstance(image, (str, os.PathLike)) else None
            results.append({"path": path, "classes": classes})
    if not results:
        raise CifarZooError("there are no images to classify: the list is empty")
    return results


def _name(image: Any, number: int) -> str:
    """How messages name an image."""
    return repr(str(image)) if isinstance(image, (str, os.PathLike)) else f"images[{number}]"


def _pixels(image: Any, name: str) -> np.ndarray:
    """The pixels of an image in the format of CIFAR-10."""
    from PIL import Image

    if isinstance(image, (str, os.PathLike)):
        return read_image(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise CifarZooError(
                f"{name} must be pixels 0..255, uint8 (rows, columns, 3), not {image.dtype} {image.shape}"
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise CifarZooError(f"{name} must be a path, an array or an image of Pillow, not {type(image).__name__}")
    try:
        return from_pillow(image)
    except Exception as error:  # a file that Pillow has opened is decoded now
        raise CifarZooError(f"{name} cannot be read as an image: {error}") from error
