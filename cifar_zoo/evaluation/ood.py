"""Detection of images that show none of the known classes (out-of-distribution detection)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.checks import integer
from cifar_zoo.data.folder import image_files
from cifar_zoo.data.images import SIDE, read_image
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.logits import predict_features, predict_logits
from cifar_zoo.evaluation.metrics import detection, softmax
from cifar_zoo.evaluation.onnx_model import OnnxModel
from cifar_zoo.evaluation.outputs import logits_model
from cifar_zoo.files import named_path
from cifar_zoo.lazy import keras

_BLOCK = 500  # images whose distances to all neighbors are in memory


def load_images(source: str | Path | np.ndarray, side: int = SIDE) -> np.ndarray:
    """Load images without labels.

    Args:
        source: Path of a folder, of which all files are read, those of its subfolders, too, except for hidden ones and
            what systems leave behind; or an array of pixels 0..255, uint8 (n, rows, columns, channels).
        side: Integer. Height and width to which images of files are resized, as by `read_image`.

    Returns: uint8 (n, rows, columns, channels).

    Raises:
        CifarZooError: If there is no such folder, a file is not an image, or the array is anything else.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 4 or not len(source):
            raise CifarZooError(
                f"images must be pixels 0..255, uint8 (n, rows, columns, channels), not {source.dtype} {source.shape}"
            )
        return source
    folder = named_path(source)
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(folder)!r}")
    if not (files := image_files(folder)):
        raise CifarZooError(f"{str(folder)!r} has no images")
    return np.stack([read_image(file, side) for file in files])


def detect_unknown(
    model: keras.Model | OnnxModel,
    known: np.ndarray,
    unknown: np.ndarray,
    train: np.ndarray | None = None,
    *,
    neighbors: int = 50,
    batch_size: int = 100,
) -> dict[str, Any]:
    """Measure how well a network tells images of its classes from others.

    Args:
        model: A functional or Sequential model, or an `OnnxModel`.
        known: Pixels 0..255 (n, rows, columns, channels) of images of its classes that it was not trained on.
        unknown: Likewise (m, ...), images that show none of its classes.
        train: Likewise (t, ...), training images, for the score `knn`. None, and an `OnnxModel`, leave it out.
        neighbors: Integer. Number of neighbors for the score `knn`, at most the number of training images.
        batch_size: Integer. Images a step.

    Returns:
        A dict with the number of unknown `images` and for each score a dict of `auroc`, `aupr_in`, `aupr_out` and
        `fpr95`, as in `cifar_zoo.evaluation.metrics.Detection`:

        - `max_softmax`: the largest probability (Hendrycks and Gimpel 2017, arXiv:1610.02136)
        - `energy`: the logarithm of the sum of the exponentials of the logits (Liu et al. 2020, arXiv:2010.03759); left
          out for a model whose logits are not known
        - `knn`: the negative distance to the k-th nearest of the training images, by the input of the classifier,
          normalized to length 1 (Sun et al. 2022, arXiv:2204.06507)

    Raises:
        CifarZooError: If the images do not fit the network.
    """
    known_scores = _scores(model, known, batch_size)
    unknown_scores = _scores(model, unknown, batch_size)
    if train is not None and not isinstance(model, OnnxModel):
        neighbors = integer("neighbors", neighbors)
        if neighbors > len(train):
            raise CifarZooError(f"neighbors must be at most the number of training images, {len(train)}")
        bank, *others = (predict_features(model, images, batch_size=batch_size) for images in (train, known, unknown))
        known_scores["knn"], unknown_scores["knn"] = (-kth_distance(bank, features, neighbors) for features in others)
    found = {name: detection(scores, unknown_scores[name])._asdict() for name, scores in known_scores.items()}
    return {"images": len(unknown), **found}


def _scores(model: keras.Model | OnnxModel, images: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
    """Scores that are high for images of the known classes."""
    model, exact = (model, model.gives_logits) if isinstance(model, OnnxModel) else logits_model(model)
    logits = predict_logits(model, images, batch_size=batch_size, from_logits=exact)
    scores = {"max_softmax": softmax(logits).max(axis=-1)}
    if exact:
        scores["energy"] = np.logaddexp.reduce(logits, axis=-1)
    return scores


def kth_distance(bank: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    """The distance (n,) of each vector to the k-th nearest of others, all of them normalized to length 1.

    Args:
        bank: Array (t, d).
        features: Array (n, d).
        k: Integer from 1 to t.
    """
    bank, features = (_normalized(vectors) for vectors in (bank, features))
    distances = []
    for start in range(0, len(features), _BLOCK):
        cosines = features[start : start + _BLOCK] @ bank.T
        nearest = np.partition(cosines, len(bank) - k, axis=1)[:, len(bank) - k]
        distances.append(np.sqrt(np.maximum(2 - 2 * nearest, 0)))
    return np.concatenate(distances)


def _normalized(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype("float32")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo("float32").tiny)
