"""Naming what images show."""

from __future__ import annotations

import functools
import logging
import os
import re
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import CLASSES
from cifar_zoo.data.images import SIDE, center_crop, from_pillow, read_image, side_for
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.keras_file import is_keras_file
from cifar_zoo.evaluation.logits import load, predict_logits
from cifar_zoo.evaluation.metrics import softmax
from cifar_zoo.evaluation.onnx_model import OnnxModel, is_onnx
from cifar_zoo.evaluation.outputs import class_names_of
from cifar_zoo.files import make_folder, named_path, write_atomically
from cifar_zoo.lazy import keras

if TYPE_CHECKING:
    from PIL import Image

_log = logging.getLogger(__name__)
_AT_ONCE = 256  # images in memory
_ENLARGED = 8  # how much larger an explained image is drawn


def predict(
    model: keras.Model | OnnxModel | str | Path,
    images: Iterable[str | Path | np.ndarray | Image.Image],
    *,
    weights: str | Path = "cifar10",
    top: int = 3,
    from_logits: bool | None = None,
    class_names: Sequence[str] | None = None,
    explain: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Name the most probable classes of images.

    Args:
        model: A registered name; the path of an exported .onnx file or of a .keras file; or a network that gives a
            probability or logit for each class.
        images: Images of any size: paths of files, read as `read_image` does; arrays of pixels 0..255, uint8 (rows,
            columns, 3); or images of Pillow. Any iterable of these, so also an array (n, rows, columns, 3).
        weights: For a name: "cifar10", a tag or a path.
        top: Integer from 1 to the number of classes. Number of classes to name. A network that keeps the names of fewer
            classes names all of them.
        from_logits: Boolean or None. Whether the network gives logits. None decides by its last activation: softmax and
            sigmoid give probabilities, anything else gives logits.
        class_names: The names of the classes, in the order of the network's outputs. By default those that the network
            keeps, as one of `finetune` does and an .onnx file, or else those of CIFAR-10.
        explain: Path of a folder, or None. For each image a PNG file is written that shows where the network saw the
            best class: its Grad-CAM heat map over the image as the network sees it. Not for .onnx files.

    Returns:
        For each image `{"path": ..., "classes": [{"class": ..., "probability": ...}, ...]}`, the best class first. The
        path is None unless the image is a file. An image whose scores are not finite has no classes, and a warning
        names it. With `explain` also `"explanation"`, the path of the PNG file.

    Raises:
        CifarZooError: If there are no images, one cannot be read, or the network does not give one score a class.
    """
    if is_onnx(model) or is_keras_file(model):
        model = load(model, weights)
    kept = class_names_of(model) if class_names is None else None
    class_names = list(class_names if class_names is not None else kept or CLASSES)
    top = integer("top", top, at_least=None)
    if kept:
        top = min(top, len(kept))
    side = side_for(model.input_shape[1:]) if hasattr(model, "input_shape") else SIDE
    if not 1 <= top <= len(class_names):
        raise CifarZooError(f"top must be from 1 to {len(class_names)}, not {top}")
    if isinstance(images, (str, os.PathLike)) or not isinstance(images, Iterable):
        raise CifarZooError(f"images must be a list or another iterable of images, not {images!r}")
    if explain is not None and isinstance(model, OnnxModel):
        raise CifarZooError(f"{model.name} is an .onnx file; explain needs the network in Keras")
    remaining = iter(images)
    results: list[dict[str, Any]] = []
    while chunk := list(islice(remaining, _AT_ONCE)):
        names = [_name(image, len(results) + number) for number, image in enumerate(chunk)]
        pixels = np.stack([_pixels(image, name, side) for image, name in zip(chunk, names, strict=True)])
        model = load(model, weights)  # after the first images have been read
        if model.output_shape != (None, len(class_names)):
            raise CifarZooError(
                f"{model.name} gives {model.output_shape}, not the scores of {len(class_names)} classes; "
                "class_names names those of your own network"
            )
        chunk_scores = softmax(predict_logits(model, pixels, from_logits=from_logits))
        for image, name, scores in zip(chunk, names, chunk_scores, strict=True):
            best = np.argsort(-scores, kind="stable")[:top]
            if not np.isfinite(scores).all():
                _log.warning("%s gives scores for %s that are not finite", model.name, name)
                best = best[:0]
            classes = [{"class": class_names[i], "probability": round(float(scores[i]), 6)} for i in best]
            path = str(image) if isinstance(image, (str, os.PathLike)) else None
            results.append({"path": path, "classes": classes})
        if explain is not None:
            best_classes = chunk_scores.argmax(axis=-1)
            _explain(model, pixels, results[-len(chunk) :], best_classes, Path(explain), len(results) - len(chunk))
    if not results:
        raise CifarZooError("there are no images to classify: the list is empty")
    return results


def _explain(
    model: Any, pixels: np.ndarray, results: list[dict[str, Any]], best: np.ndarray, folder: Path, first: int
) -> None:
    """Write the heat map of the best class of each image, and add its path to the result."""
    from PIL import Image

    from cifar_zoo.evaluation.inspection import grad_cam, overlay

    named = [number for number, result in enumerate(results) if result["classes"]]
    height, width = model.input_shape[1:3]
    folder = named_path(folder)
    make_folder(folder)
    for number, image, heat in zip(
        named,
        center_crop(pixels[named], height, width),
        grad_cam(model, pixels[named], best[named]) if named else (),
        strict=True,
    ):
        size = (_ENLARGED * image.shape[1], _ENLARGED * image.shape[0])
        enlarged = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
        result = results[number]
        stem = Path(result["path"]).stem if result["path"] else "image"
        # The name of a class may hold what the name of a file cannot.
        shown = re.sub(r"[^\w.-]+", "_", result["classes"][0]["class"])[:60]
        file = folder / f"{first + number:04}-{stem[:100]}-{shown}.png"
        drawn = Image.fromarray(overlay(enlarged, smooth))
        write_atomically(file, functools.partial(drawn.save, format="PNG"))
        result["explanation"] = str(file)


def latency(model: keras.Model | OnnxModel, image: np.ndarray, seconds: float = 2.0) -> dict[str, float]:
    """Measure how long a network takes for one image, after a warm-up.

    Args:
        model: A functional or Sequential model, or an `OnnxModel`.
        image: Pixels 0..255 (rows, columns, channels), cropped to the center of the network's input size.
        seconds: Float. For how long to measure, at least ten calls.

    Returns:
        A dict with the `median` and the 95th percentile `p95`, in milliseconds, and the number of `calls`. A call is
        `predict_on_batch`, from pixels in memory to class scores.
    """
    x = center_crop(image[None], *model.input_shape[1:3])
    call = model.predict if isinstance(model, OnnxModel) else model.predict_on_batch
    for _ in range(3):
        call(x)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        call(x)
        taken.append(1e3 * (time.perf_counter() - start))
    median, p95 = np.quantile(taken, [0.5, 0.95])
    return {"median": float(median), "p95": float(p95), "calls": len(taken)}


def _name(image: Any, number: int) -> str:
    """How messages name an image."""
    return repr(str(image)) if isinstance(image, (str, os.PathLike)) else f"images[{number}]"


def _pixels(image: Any, name: str, side: int) -> np.ndarray:
    """The pixels of an image as a square."""
    from PIL import Image

    if isinstance(image, (str, os.PathLike)):
        return read_image(image, side)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise CifarZooError(
                f"{name} must be pixels 0..255, uint8 (rows, columns, 3), not {image.dtype} {image.shape}"
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise CifarZooError(f"{name} must be a path, an array or an image of Pillow, not {type(image).__name__}")
    try:
        return from_pillow(image, side)
    except Exception as error:  # a file that Pillow has opened is decoded now
        raise CifarZooError(f"{name} cannot be read as an image: {error}") from error
