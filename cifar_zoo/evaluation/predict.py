"""Naming what is in image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.data.cifar10 import CLASSES
from cifar_zoo.data.images import read_image
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.evaluate import as_probabilities, predict_images
from cifar_zoo.registry import create_model


def predict(
    model: keras.Model | str, images: Sequence[str | Path], *, weights: str = "cifar10", top: int = 3
) -> list[dict[str, Any]]:
    """The most probable classes of image files.

    Args:
        model: a registered name, or a network with ten probabilities or logits.
        images: paths; any size, mode and format that Pillow opens.
        weights: for a name, which weights: "cifar10", a tag or a path.
        top: number of classes, from 1 to 10.

    Returns: for each image {"path": ..., "classes": [{"class": ..., "probability": ...}, ...]}, best first.

    Raises:
        CifarZooError: if an image cannot be read, or the network has no ten scores.
    """
    if not 1 <= top <= len(CLASSES):
        raise CifarZooError(f"top must be from 1 to {len(CLASSES)}, not {top}")
    if isinstance(images, (str, Path)) or not images:
        raise CifarZooError(f"images must be a list of one path or more, not {images!r}")
    read = np.stack([read_image(path) for path in images])
    if isinstance(model, str):
        model = create_model(model, weights=weights)
    if model.output_shape != (None, len(CLASSES)):
        raise CifarZooError(f"{model.name} gives {model.output_shape}, not the scores of ten classes")
    results = []
    for path, scores in zip(images, as_probabilities(predict_images(model, read)), strict=True):
        best = np.argsort(-scores, kind="stable")[:top]
        classes = [{"class": CLASSES[i], "probability": round(float(scores[i]), 6)} for i in best]
        results.append({"path": str(path), "classes": classes})
    return results
