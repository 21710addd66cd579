"""Metrics against SciPy, scikit-learn and torchmetrics."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

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


def overconfident(n=20_000, classes=10, temperature=0.5):
    """Logits whose probabilities are those of the labels once they are divided by the inverse of the temperature."""
    draw = np.random.default_rng(1)
    exact = draw.normal(0, 2, (n, classes))
    labels = (exact + draw.gumbel(size=exact.shape)).argmax(axis=1)  # a draw from the softmax
    return exact / temperature, labels


def test_soft_labels_are_measured_as_by_scipy():
    people = random.dirichlet(np.full(10, 0.3), 500)
    people[:20] = np.eye(10)[LABELS[:20]]  # all agree
    kl = scipy.special.rel_entr(people, scipy.special.softmax(LOGITS, axis=1)).sum(axis=1)
    entropies = scipy.stats.entropy(people, axis=1)
    np.testing.assert_allclose(metrics.entropy(people), entropies, atol=1e-12)
    assert metrics.soft_cross_entropy(LOGITS, people) == pytest.approx((kl + entropies).mean(), rel=1e-12)
    other = random.normal(size=500).round(1) + entropies.round(1)  # with ties
    expected = scipy.stats.spearmanr(entropies.round(1), other).statistic
    assert metrics.rank_correlation(entropies.round(1), other) == pytest.approx(expected, rel=1e-9)


def test_the_brier_score_is_that_of_scikit_learn():
    from sklearn.metrics import brier_score_loss

    probabilities = scipy.special.softmax(LOGITS, axis=1)
    expected = brier_score_loss(LABELS, probabilities, labels=range(10), scale_by_half=False)
    assert metrics.brier_score(LOGITS, LABELS) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (10, 10), (1, 10), (9_540, 10_000), (3, 4)])
def test_the_interval_is_that_of_scipy(correct, total):
    for level in (0.95, 0.8):
        expected = scipy.stats.binomtest(correct, total).proportion_ci(level, method="wilson")
        assert metrics.wilson_interval(correct, total, level) == pytest.approx(tuple(expected), abs=1e-12)


def test_the_confusion_matrix_is_that_of_scikit_learn():
    from sklearn.metrics import confusion_matrix

    expected = confusion_matrix(LABELS, LOGITS.argmax(axis=1))
    np.testing.assert_array_equal(metrics.confusion_matrix(LOGITS, LABELS), expected)
    few = LABELS % 3  # classes without images have rows, too
    assert metrics.confusion_matrix(LOGITS, few.astype("uint8")).shape == (10, 10)
    unknown = LOGITS.copy()
    unknown[:5] = np.nan
    assert metrics.confusion_matrix(unknown, LABELS).sum() == 495


@pytest.mark.parametrize("bins", [1, 15, 100])
def test_the_calibration_error_is_that_of_torchmetrics(bins):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchmetrics")  # only developers have it
    from torchmetrics.functional.classification import multiclass_calibration_error

    for logits, labels in ((LOGITS, LABELS), overconfident()):
        probabilities = torch.from_numpy(scipy.special.softmax(logits, axis=1))
        expected = multiclass_calibration_error(probabilities, torch.from_numpy(labels), 10, n_bins=bins, norm="l1")
        assert metrics.calibration_error(logits, labels, bins) == pytest.approx(float(expected), abs=1e-5)  # in float32


def test_bins_are_those_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    logits, labels = overconfident()
    confidence = scipy.special.softmax(logits, axis=1).max(axis=1)
    right = logits.argmax(axis=1) == labels
    for strategy, adaptive in (("uniform", False), ("quantile", True)):
        found = metrics.reliability(logits, labels, 15, adaptive=adaptive)
        accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy=strategy)
        filled = found.images > 0
        np.testing.assert_allclose(found.accuracy[filled], accuracy, atol=2e-3)  # edges of quantiles are interpolated
        np.testing.assert_allclose(found.confidence[filled], mean, atol=2e-3)
        assert found.images.sum() == len(labels)
        assert np.isnan(found.accuracy[~filled]).all()
        if adaptive:
            assert np.ptp(found.images) <= 1


def test_the_calibration_error_of_known_forecasts():
    certain = np.log([[0.8, 0.2]] * 10)
    labels = np.array([0] * 6 + [1] * 4)  # 60 % right at a confidence of 80 %
    for adaptive in (False, True):
        assert metrics.calibration_error(certain, labels, 1, adaptive=adaptive) == pytest.approx(0.2)
    assert np.isnan(metrics.calibration_error(np.array([[np.nan, 1.0]]), np.array([1])))


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 3.0])
def test_the_temperature_is_found_and_minimizes_the_cross_entropy(temperature):
    logits, labels = overconfident(temperature=temperature)
    found = metrics.fit_temperature(logits, labels)
    assert found == pytest.approx(1 / temperature, rel=0.05)
    exact = scipy.optimize.minimize_scalar(
        lambda log: metrics.cross_entropy(logits / np.exp(log), labels), bounds=(-5, 5), options={"xatol": 1e-9}
    )
    assert found == pytest.approx(np.exp(exact.x), rel=1e-4)


def test_the_temperature_of_perfect_and_useless_scores_has_bounds():
    perfect = 5 * np.eye(10)[LABELS]
    assert metrics.fit_temperature(perfect, LABELS) == pytest.approx(0.01)
    assert metrics.fit_temperature(-perfect, LABELS) == pytest.approx(100)


def test_risk_and_coverage_by_their_definition():
    logits, labels = overconfident(300)
    coverage, risk = metrics.risk_coverage(logits, labels)
    confidence = scipy.special.softmax(logits, axis=1).max(axis=1)
    wrong = logits.argmax(axis=1) != labels
    for count in (1, 10, 299, 300):
        kept = confidence >= np.sort(confidence)[-count]
        assert risk[count - 1] == pytest.approx(wrong[kept].mean())
        assert coverage[count - 1] == count / 300
    ties = np.zeros((4, 2))  # nothing is known of their order, so the risk is the largest that it may be
    np.testing.assert_allclose(metrics.risk_coverage(ties, np.array([0, 1, 0, 0]))[1], [1, 1 / 2, 1 / 3, 1 / 4])


def test_confident_mistakes_are_wrong_and_in_order():
    found = metrics.confident_mistakes(LOGITS, LABELS, 25)
    confidence = scipy.special.softmax(LOGITS, axis=1).max(axis=1)
    wrong = LOGITS.argmax(axis=1) != LABELS
    assert len(found) == 25 and wrong[found].all()
    np.testing.assert_array_equal(confidence[found], np.sort(confidence[wrong])[::-1][:25])
    assert len(metrics.confident_mistakes(LOGITS, LOGITS.argmax(axis=1), 25)) == 0


@pytest.mark.parametrize("ties", [False, True])
def test_detection_is_measured_as_by_scikit_learn(ties):
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    known, unknown = random.normal(1, 1, 400), random.normal(0, 1.5, 300)
    if ties:
        known, unknown = known.round(), unknown.round()
    truth, scores = np.repeat([1, 0], [400, 300]), np.concatenate([known, unknown])
    found = metrics.detection(known, unknown)
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores), rel=1e-12)
    assert found.aupr_in == pytest.approx(average_precision_score(truth, scores), rel=1e-12)
    assert found.aupr_out == pytest.approx(average_precision_score(1 - truth, -scores), rel=1e-12)
    accepted, kept, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(accepted[np.argmax(kept >= 0.95)], rel=1e-12)
    assert np.isnan(metrics.detection(known, np.array([np.nan]))).all()
