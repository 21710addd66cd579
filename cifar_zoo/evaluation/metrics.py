"""Metrics of class scores, as plain functions on logits (n, classes) and integer labels (n,)."""

from __future__ import annotations

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
