"""Naming what image files show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import CLASSES
from cifar_zoo.data.images import read_image
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.evaluate import predict_logits
from cifar_zoo.evaluation.metrics import softmax
from cifar_zoo.registry import create_model


def predict(
    model: keras.Model | str,
    images: Sequence[str | Path],
    *,
    weights: str | Path = "cifar10",
    top: int = 3,
    from_logits: bool | None = None,
) -> list[dict[str, Any]]:
    """Name the most probable classes of image files.

    Args:
        model: A registered name, or a network that gives ten probabilities or logits.
        images: Paths of images of any size, mode and format that Pillow opens.
        weights: For a name: "cifar10", a tag or a path.
        top: Integer from 1 to 10. Number of classes to name.
        from_logits: Boolean or None. Whether the network gives logits. None decides by its last activation: softmax and
            sigmoid give probabilities, anything else gives logits.

    Returns:
        For each image `{"path": ..., "classes": [{"class": ..., "probability": ...}, ...]}`, the best class first.

    Raises:
        CifarZooError: If an image cannot be read, the network does not give ten scores, or they are not numbers.
    """
    top = integer("top", top, at_least=None)
    if not 1 <= top <= len(CLASSES):
        raise CifarZooError(f"top must be from 1 to {len(CLASSES)}, not {top}")
    if isinstance(images, (str, Path)) or not images:
        raise CifarZooError(f"images must be a list of one path or more, not {images!r}")
    pixels = np.stack([read_image(path) for path in images])
    if isinstance(model, str):
        model = create_model(model, weights=weights)
    if model.output_shape != (None, len(CLASSES)):
        raise CifarZooError(f"{model.name} gives {model.output_shape}, not the scores of ten classes")
    results = []
    for path, scores in zip(images, softmax(predict_logits(model, pixels, from_logits=from_logits)), strict=True):
        if np.isnan(scores).any():
            raise CifarZooError(f"{model.name} gives scores for {str(path)!r} that are not numbers: {scores.tolist()}")
        best = np.argsort(-scores, kind="stable")[:top]
        classes = [{"class": CLASSES[i], "probability": round(float(scores[i]), 6)} for i in best]
        results.append({"path": str(path), "classes": classes})
    return results
