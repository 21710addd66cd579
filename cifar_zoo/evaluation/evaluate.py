"""Metrics of a network on labeled images, and a report of them."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.data.cifar10 import Dataset, Split, check_split, load_cifar10
from cifar_zoo.data.images import center_crop, side_for
from cifar_zoo.data.variants import VARIANTS, load_cifar10h, load_variant
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation import metrics
from cifar_zoo.evaluation.logits import load, predict_logits
from cifar_zoo.evaluation.onnx_model import OnnxModel
from cifar_zoo.evaluation.ood import detect_unknown, load_images
from cifar_zoo.evaluation.outputs import channels_and_classes, class_names_of
from cifar_zoo.evaluation.report import check_report, write_report
from cifar_zoo.evaluation.robustness import corruption_accuracies
from cifar_zoo.lazy import keras

_log = logging.getLogger(__name__)
_NEIGHBORS = 10_000  # training images among which unknown images look for their neighbors

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
    held_out: Split | None = None,
    human: str | Path | None = None,
    corruptions: bool | str | Path = False,
    unknown: str | Path | np.ndarray | None = None,
    report: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measure a network on labeled images.

    Args:
        model: A registered name; the path of an exported .onnx file or of a .keras file; or a functional or Sequential
            model from (batch, height, width, channels) pixels 0..255 to probabilities or logits (batch, classes).
            Larger images are cropped to their center.
        data: `(images, labels)`; an iterable of such batches, for example a `tf.data.Dataset`; or a dataset as
            `load_cifar10` returns it, or a source for `load_cifar10`, of which the test images are used; or the path of
            a file of CIFAR-10.1 or CIFAR-10.2, as `cifar_zoo.data.variants.load_variant` takes it. Pixels are whole
            numbers 0..255, and labels are integers from 0 to classes - 1.
        weights: For a name: "cifar10", a tag or a path.
        batch_size: Integer. Images a step. On PyTorch the outputs of all layers are in memory together: for
            se_resnet50 and 100 images the process takes 6 GB.
        tta: Boolean. Whether to measure with test-time augmentation as well: the log-probabilities averaged over the
            six `VIEWS` (flips and shifts) of each image, which takes six times as long.
        from_logits: Boolean or None. Whether the model gives logits. None decides by its last activation: softmax and
            sigmoid give probabilities, anything else gives logits.
        held_out: `(images, labels)` that the network was not trained on, such as those that `fit_cifar10` held out, or
            None. A temperature is fitted to them.
        human: Path of cifar10h-probs.npy, the answers of people for the test images of CIFAR-10 (CIFAR-10H), or None.
        corruptions: True to measure on corrupted images as well, or the path of the folder of the published CIFAR-10-C.
        unknown: Images that show none of the classes, to measure how well the network tells them from the others: a
            folder of image files, or an array uint8 (m, rows, columns, channels). None leaves it out.
        report: Path of a folder to which report.json, report.html and plots are written, or None. Plots need
            `pip install 'cifar-zoo[report]'`.
        class_names: The names of the classes for the report, by default those that the network keeps, or else those of
            CIFAR-10.
        verbose: 0 or 1. Whether to show the progress of the corruptions on standard error.

    Returns:
        A dict with `accuracy`, in 0..1, and its Wilson 95 % `accuracy_interval`; `loss`, the mean cross-entropy (NLL)
        in nats; the Brier score `brier`; the expected calibration errors `ece` and `adaptive_ece` in 15 bins; `aurc`,
        the area under the risk-coverage curve; `correct` and `images`, two counts. As far as asked for, also:

        - `tta_accuracy`, `tta_loss` and `tta_correct`
        - `temperature`: the fitted `temperature`, the number of `held_out` images, and `loss`, `brier`, `ece` and
          `adaptive_ece` once the logits are divided by it
        - `human`: `cross_entropy` of the answers of people in nats, and the `entropy_correlation` (Spearman), between
          the uncertainty of the network and that of people
        - `corruptions`: what `cifar_zoo.evaluation.robustness.corruption_accuracies` returns
        - `unknown`: what `cifar_zoo.evaluation.ood.detect_unknown` returns; with its score `knn` if `data` is a
          dataset, whose first 10,000 training images are then the neighbors

    Raises:
        CifarZooError: If the data is not images with labels, if the images are smaller than the network's input or have
            another number of channels, or if a label has no score.
    """
    if report is not None:
        check_report(report, class_names)
    model = load(model, weights)
    channels, classes = channels_and_classes(model)
    train, test = _train_and_test(data)
    x, y = check_split(test, "data:", channels=channels, classes=classes)
    options: dict[str, Any] = {"batch_size": batch_size, "from_logits": from_logits}
    logits = predict_logits(model, x, **options)
    if wrong := int((~np.isfinite(logits).all(axis=-1)).sum()):
        _log.warning("%s gives scores for %d of %d images that are not finite", model.name, wrong, len(y))
    figures: dict[str, Any] = {**_figures(logits, y), **_quality(logits, y), "images": len(y)}
    figures["accuracy_interval"] = list(metrics.wilson_interval(figures["correct"], len(y)))
    figures["aurc"] = float(metrics.risk_coverage(logits, y)[1].mean())
    if tta:
        averaged = VIEWS[0][0] * logits
        for weight, shift, mirrored in VIEWS[1:]:
            seen = view(x, *model.input_shape[1:3], shift=shift, mirrored=mirrored)
            averaged += weight * predict_logits(model, seen, **options)
            del seen  # before the next is made: one view at a time is in memory
        figures |= {f"tta_{name}": figure for name, figure in _figures(averaged, y).items()}
    if held_out is not None:
        others, truth = check_split(held_out, "held_out:", channels=channels, classes=classes)
        temperature = metrics.fit_temperature(predict_logits(model, others, **options), truth)
        scaled = _quality(logits / temperature, y)
        figures["temperature"] = {"temperature": temperature, "held_out": len(truth), **scaled}
    if human is not None:
        figures["human"] = _compare_with_people(logits, load_cifar10h(human))
    if corruptions:
        source = None if corruptions is True else corruptions
        figures["corruptions"] = corruption_accuracies(model, x, y, source=source, verbose=verbose, **options)
    if unknown is not None:
        bank = None if train is None else train[0][:_NEIGHBORS]
        others = load_images(unknown, side_for(model.input_shape[1:]))
        figures["unknown"] = detect_unknown(model, x, others, bank, batch_size=batch_size)
    if report is not None:
        write_report(report, model.name, figures, x, y, logits, class_names or class_names_of(model))
    return figures


def _train_and_test(data: Any) -> tuple[Split | None, Any]:
    """Return the training images, if there are any, and the test images in one of the forms that `evaluate` accepts."""
    if isinstance(data, (str, Path)) and Path(data).name in VARIANTS:
        return None, load_variant(data)
    if data is None or isinstance(data, (str, Path)):
        data = load_cifar10(data)
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(p, tuple) and len(p) == 2 for p in data):
        return data[0], _labeled_images(data[1])
    return None, _labeled_images(data)


def _labeled_images(data: Any) -> Any:
    """Return images and labels, to be checked by `check_split`."""
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


def _quality(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """How good the probabilities are, apart from the accuracy."""
    return {
        "loss": metrics.cross_entropy(logits, y),
        "brier": metrics.brier_score(logits, y),
        "ece": metrics.calibration_error(logits, y),
        "adaptive_ece": metrics.calibration_error(logits, y, adaptive=True),
    }


def _compare_with_people(logits: np.ndarray, people: np.ndarray) -> dict[str, float]:
    if logits.shape != people.shape:
        raise CifarZooError(
            f"human: CIFAR-10H has the {len(people):,} test images of CIFAR-10 and its 10 classes; these are "
            f"{len(logits):,} images and {logits.shape[-1]} classes"
        )
    return {
        "cross_entropy": metrics.soft_cross_entropy(logits, people),
        "entropy_correlation": metrics.rank_correlation(
            metrics.entropy(metrics.softmax(logits)), metrics.entropy(people)
        ),
    }


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
