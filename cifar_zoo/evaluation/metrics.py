"""Metrics of class scores, as plain functions on logits (n, classes) and integer labels (n,).

If some scores are not finite, a metric is NaN, except for those that count correct images: these images are errors.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np


@np.errstate(all="ignore")  # small probabilities become zero, and scores that are not finite give NaN
def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The log-probabilities (n, classes) of logits (n, classes), float64."""
    with np.errstate(invalid="ignore", under="ignore"):  # the result for infinite logits is NaN
        shifted = logits.astype("float64") - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@np.errstate(all="ignore")
def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities (n, classes) of logits (n, classes), float64."""
    with np.errstate(under="ignore"):
        return np.exp(log_softmax(logits))


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits (n, classes), float64, of which `softmax` gives back the probabilities; zeros become very small."""
    return np.log(np.maximum(probabilities.astype("float64"), np.finfo("float32").tiny))


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the label has the largest score: booleans (n,). An image with a score that is NaN is not correct."""
    return (logits.argmax(axis=-1) == labels) & ~np.isnan(logits).any(axis=-1)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of images whose label has the largest score, in 0..1."""
    return float(correct(logits, labels).mean())


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log-likelihood of the labels, in nats."""
    chosen = np.take_along_axis(log_softmax(logits), labels[:, None].astype(int), axis=-1)
    return float(-chosen.mean())


@np.errstate(all="ignore")
def soft_cross_entropy(logits: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean cross-entropy, in nats, with labels that are probabilities (n, classes)."""
    return float(-(probabilities * log_softmax(logits)).sum(axis=-1).mean())


@np.errstate(all="ignore")
def entropy(probabilities: np.ndarray) -> np.ndarray:
    """The entropy (n,) of probabilities (n, classes), in nats."""
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum(axis=-1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of two arrays (n,): that of their ranks, where equal values share the mean of theirs."""

    def ranks(values: np.ndarray) -> np.ndarray:
        ordered = np.sort(values)
        return np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


@np.errstate(all="ignore")
def brier_score(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean squared distance of the probabilities from the labels, summed over the classes: 0..2, 0 is perfect.

    Reference: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    return float(np.square(softmax(logits) - np.eye(logits.shape[-1])[labels]).sum(axis=-1).mean())


def wilson_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The confidence interval of a proportion, here an accuracy.

    Args:
        correct: Integer. Number of correct images.
        total: Integer of at least 1. Number of images.
        level: Float in (0, 1). Confidence level.

    Returns:
        The lower and the upper bound, in 0..1.

    Reference: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = correct / total
    center = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often the class of a column was predicted for images of the class of a row: integers (classes, classes).

    Images with a score that is NaN are left out.
    """
    classes = logits.shape[-1]
    known = ~np.isnan(logits).any(axis=-1)
    pairs = labels[known].astype(int) * classes + logits[known].argmax(axis=-1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


class Reliability(NamedTuple):
    """Confidence and accuracy of the images in each bin, arrays (bins,), as a reliability diagram shows them.

    Attributes:
        images: Number of images.
        confidence: Mean of the largest probability, in 0..1. NaN for a bin without images, as is the accuracy.
        accuracy: Fraction of correct images, in 0..1.
    """

    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


@np.errstate(all="ignore")  # the mean of an empty bin is NaN
def reliability(logits: np.ndarray, labels: np.ndarray, bins: int = 15, *, adaptive: bool = False) -> Reliability:
    """Sort images into bins by their confidence, the largest probability.

    Args:
        logits: Array (n, classes).
        labels: Integers (n,).
        bins: Integer. Number of bins.
        adaptive: Boolean. Whether all bins have the same number of images, instead of the same width in confidence.

    Returns: a `Reliability`.
    """
    confidence, right = softmax(logits).max(axis=-1), correct(logits, labels)
    if adaptive:
        bin_of = np.empty(len(labels), int)
        bin_of[np.argsort(confidence, kind="stable")] = np.arange(len(labels)) * bins // len(labels)
    else:
        finite = np.nan_to_num(confidence)
        bin_of = np.clip(np.ceil(finite * bins).astype(int) - 1, 0, bins - 1)  # (low, high], as Guo et al. have them
    images = np.bincount(bin_of, minlength=bins)
    mean = [np.bincount(bin_of, weights=values, minlength=bins) / images for values in (confidence, right)]
    return Reliability(images, *mean)


@np.errstate(all="ignore")
def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15, *, adaptive: bool = False) -> float:
    """The expected calibration error (ECE): how far confidence is from accuracy, on average over the images, in 0..1.

    Args:
        logits: Array (n, classes).
        labels: Integers (n,).
        bins: Integer. Number of bins of `reliability`.
        adaptive: Boolean. Whether all bins have the same number of images.

    References:
        - Guo et al., "On Calibration of Modern Neural Networks", 2017 (arXiv:1706.04599)
        - Nixon et al., "Measuring Calibration in Deep Learning", 2019 (arXiv:1904.01685), for adaptive bins
    """
    if not np.isfinite(logits).all():
        return float("nan")
    images, confidence, accuracy = reliability(logits, labels, bins, adaptive=adaptive)
    filled = images > 0
    return float(np.average(np.abs(confidence - accuracy)[filled], weights=images[filled]))


@np.errstate(all="ignore")
def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature by which logits must be divided for the smallest cross-entropy, between 0.01 and 100.

    Args:
        logits: Finite array (n, classes), of images that the network was neither trained nor is tested on.
        labels: Integers (n,).

    Reference: Guo et al., "On Calibration of Modern Neural Networks", 2017 (arXiv:1706.04599).
    """
    logits = logits.astype("float64")
    logits -= np.take_along_axis(logits, labels[:, None].astype(int), axis=-1)  # that of the label is 0

    def slope(inverse: float) -> float:
        """The derivative of the cross-entropy by the inverse of the temperature, in which it is convex."""
        return (softmax(inverse * logits) * logits).sum(axis=-1).mean()

    low, high = 0.01, 100.0
    while high / low > 1 + 1e-9:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if slope(middle) <= 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def risk_coverage(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The error rate among the most confident images, for every number of them.

    Args:
        logits: Array (n, classes).
        labels: Integers (n,).

    Returns:
        Coverages 1/n, 2/n, ..., 1, and the error rate among that fraction of the images, both float64 (n,). Among
        equally confident images, errors come first. The mean of the error rates is the area under the curve (AURC).

    Reference: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017 (arXiv:1705.08500).
    """
    wrong = ~correct(logits, labels)
    confidence = np.nan_to_num(softmax(logits).max(axis=-1))
    order = np.lexsort((~wrong, -confidence))
    count = np.arange(1, len(labels) + 1)
    return count / len(labels), np.cumsum(wrong[order]) / count


def confident_mistakes(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The indices of the wrongly classified images of the highest confidence, the most confident first: (<= count,)."""
    wrong = np.flatnonzero(~correct(logits, labels))
    confidence = np.nan_to_num(softmax(logits[wrong]).max(axis=-1))
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


class Detection(NamedTuple):
    """How well a score separates known images, for which it is high, from unknown ones. All in 0..1.

    Attributes:
        auroc: Area under the ROC curve: the probability that a known image has a higher score than an unknown one.
        aupr_in: Area under the precision-recall curve (average precision), if known images are to be found.
        aupr_out: The same, if unknown images are to be found.
        fpr95: Fraction of unknown images that are accepted where 95 % of the known ones are.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float


def detection(known: np.ndarray, unknown: np.ndarray) -> Detection:
    """Measure how well a score separates known from unknown images.

    Args:
        known: Scores (n,) of known images.
        unknown: Scores (m,) of unknown images.

    Returns: a `Detection`, of NaN if a score is NaN.

    Reference: Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
        Networks", 2017 (arXiv:1610.02136).
    """
    if np.isnan(known).any() or np.isnan(unknown).any():
        return Detection(*[float("nan")] * 4)
    # The mean rank of the known scores gives the area under the ROC curve, where ties count as one half.
    ordered = np.sort(unknown)
    below = (np.searchsorted(ordered, known, "left") + np.searchsorted(ordered, known, "right")) / 2
    threshold = np.sort(known)[::-1][int(np.ceil(0.95 * len(known))) - 1]
    return Detection(
        auroc=float(below.mean() / len(unknown)),
        aupr_in=_average_precision(known, unknown),
        aupr_out=_average_precision(-unknown, -known),
        fpr95=float((unknown >= threshold).mean()),
    )


def _average_precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """The mean over the positive scores of the precision at their threshold."""
    found = len(positive) - np.searchsorted(np.sort(positive), positive, "left")
    false = len(negative) - np.searchsorted(np.sort(negative), positive, "left")
    return float((found / (found + false)).mean())
