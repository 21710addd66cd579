"""Metrics against SciPy and scikit-learn."""

import numpy as np
import pytest
import scipy.special

from cifar_zoo.evaluation import metrics

random = np.random.default_rng(0)
LOGITS = random.normal(0, 4, (500, 10))
LABELS = random.integers(0, 10, 500)


def test_softmax_is_that_of_scipy():
    for logits in (LOGITS, LOGITS * 1e3, LOGITS.astype("float32")):
        exact = logits.astype("float64")
        np.testing.assert_allclose(metrics.softmax(logits), scipy.special.softmax(exact, axis=1), rtol=1e-9)
        np.testing.assert_allclose(metrics.log_softmax(logits), scipy.special.log_softmax(exact, axis=1), atol=1e-9)


def test_probabilities_survive_the_way_through_logits():
    probabilities = scipy.special.softmax(LOGITS, axis=1)
    np.testing.assert_allclose(metrics.softmax(metrics.to_logits(probabilities)), probabilities, rtol=1e-12)
    certain = np.eye(10)[LABELS]
    np.testing.assert_allclose(metrics.softmax(metrics.to_logits(certain)), certain, atol=1e-30)


def test_accuracy_and_cross_entropy_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, log_loss

    probabilities = scipy.special.softmax(LOGITS, axis=1)
    assert metrics.accuracy(LOGITS, LABELS) == accuracy_score(LABELS, LOGITS.argmax(axis=1))
    assert metrics.cross_entropy(LOGITS, LABELS) == pytest.approx(log_loss(LABELS, probabilities), rel=1e-12)


def test_an_image_without_numbers_changes_no_other_and_is_not_correct():
    logits = LOGITS.copy()
    logits[3] = np.nan
    logits[4, 2] = np.nan
    others = np.delete(np.arange(500), [3, 4])
    np.testing.assert_array_equal(metrics.softmax(logits)[others], metrics.softmax(LOGITS)[others])
    for label in range(10):
        assert not metrics.correct(logits, np.full(500, label))[3:5].any()
