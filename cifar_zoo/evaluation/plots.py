"""The plots of a report, as PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cifar_zoo.evaluation import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GRAY = "#2b6cb0", "#c53030", "#718096"


def _figure(width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    # Not pyplot, which would choose a window system and keep every figure.
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=110, layout="constrained")
    return figure, figure.subplots(**options)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def reliability_diagram(logits: np.ndarray, labels: np.ndarray) -> bytes:
    """Accuracy against confidence in 15 bins, and the number of images in each."""
    found = metrics.reliability(logits, labels)
    bins = len(found.images)
    middle = (np.arange(bins) + 0.5) / bins
    figure, (upper, lower) = _figure(5, 5.5, nrows=2, sharex=True, height_ratios=(3, 1))
    upper.bar(middle, np.nan_to_num(found.accuracy), 1 / bins, color=BLUE, edgecolor="white", label="accuracy")
    upper.plot([0, 1], [0, 1], "--", color=GRAY, label="perfect calibration")
    upper.plot(found.confidence, found.accuracy, "o", color=RED, markersize=4, label="mean confidence")
    upper.set(ylabel="accuracy", ylim=(0, 1), xlim=(0, 1), title="Reliability")
    upper.legend(loc="upper left")
    lower.bar(middle, found.images, 1 / bins, color=GRAY, edgecolor="white")
    lower.set(xlabel="confidence", ylabel="images", yscale="log", ylim=(0.5, None))
    return _png(figure)


def confusion(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> bytes:
    """The confusion matrix, colored by the fraction of each row."""
    counts = metrics.confusion_matrix(logits, labels)
    classes = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = np.where(np.eye(classes, dtype=bool), 0, share)
    figure, axes = _figure(max(4, 0.6 * classes + 1.5), max(4, 0.6 * classes + 1))
    axes.imshow(errors, cmap="Reds", vmin=0, vmax=max(errors.max(), 1e-3))
    if classes <= 30:
        for row, column in np.ndindex(classes, classes):
            if counts[row, column]:
                right = row == column
                axes.text(
                    column,
                    row,
                    f"{counts[row, column]}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=BLUE if right else "white" if errors[row, column] > 0.6 * errors.max() else "black",
                    fontweight="bold" if right else "normal",
                )
        axes.set_xticks(range(classes), class_names, rotation=60, ha="right")
        axes.set_yticks(range(classes), class_names)
    axes.set(xlabel="predicted", ylabel="label", title="Confusion matrix")
    return _png(figure)


def risk_and_coverage(logits: np.ndarray, labels: np.ndarray) -> bytes:
    """The error rate among the most confident images against their fraction."""
    coverage, risk = metrics.risk_coverage(logits, labels)
    figure, axes = _figure(5, 3.6)
    axes.plot(100 * coverage, 100 * risk, color=BLUE)
    axes.set(
        xlabel="coverage: images that are answered, %",
        ylabel="error rate, %",
        xlim=(0, 100),
        ylim=(0, None),
        title="Risk and coverage",
    )
    axes.grid(alpha=0.3)
    return _png(figure)


def mistakes(
    images: np.ndarray, labels: np.ndarray, logits: np.ndarray, chosen: np.ndarray, class_names: Sequence[str]
) -> bytes:
    """The most confident mistakes: each image with its label, and the predicted class with its probability."""
    columns = 5
    rows = max(1, -(-len(chosen) // columns))
    figure, axes = _figure(9, 2.1 * rows, nrows=rows, ncols=columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    probabilities = metrics.softmax(logits[chosen])
    for axis, index, scores in zip(axes.flat, chosen, probabilities, strict=False):
        axis.imshow(images[index].squeeze(), cmap="gray")
        guess = int(scores.argmax())
        axis.set_title(
            f"{class_names[labels[index]]}, taken for\n{class_names[guess]} ({100 * scores[guess]:.1f} %)", fontsize=8
        )
    return _png(figure)


def corruption_bars(accuracy: dict[str, list[float]], clean: float) -> bytes:
    """The accuracy under each corruption at five severities."""
    figure, axes = _figure(9, 4)
    names = list(accuracy)
    values = 100 * np.array([accuracy[name] for name in names])
    for severity, shade in enumerate(np.linspace(0.3, 1, values.shape[1])):
        place = np.arange(len(names)) + 0.16 * (severity - 2)
        axes.bar(place, values[:, severity], 0.15, color=BLUE, alpha=shade, label=f"severity {severity + 1}")
    axes.axhline(100 * clean, color=RED, linestyle="--", label="no corruption")
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=45, ha="right")
    axes.set(ylabel="accuracy, %", ylim=(0, 100), title="Corrupted images")
    axes.legend(fontsize=7, loc="lower left", ncols=2)
    return _png(figure)
