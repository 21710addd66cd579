"""Regularization layers with random draws, and layers without weights, each against its definition.

A correct layer satisfies the bounds on frequencies with all but 1 in 1000 seeds; the seeds are fixed.
"""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients
from keras import ops
from scipy import stats

from cifar_zoo import layers

IMAGES = 4000
RANDOM = np.random.default_rng(0)


def apply(layer, x, **options):
    return ops.convert_to_numpy(layer(x, **options))


def branch(value=1.0, images=IMAGES):
    return np.full((images, 2, 2, 3), value, "float32")


def assert_one_a_image(result):
    """That a result is constant within each image; returns its value for each."""
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1, :1, :1], result.shape))
    return result[:, 0, 0, 0]


def assert_uniform(values, low, high):
    assert low <= values.min() and values.max() <= high
    assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001


def assert_independent(a, b):
    assert abs(np.corrcoef(a, b)[0, 1]) < 3.3 / np.sqrt(len(a))


def assert_share(hits, probability):
    """That Bernoulli draws have this probability."""
    assert abs(np.mean(hits) - probability) < 3.3 * np.sqrt(probability * (1 - probability) / len(hits))


def test_shake_shake_draws_a_share_for_each_image_forward_and_another_one_back():
    result, left, right = value_and_gradients(layers.ShakeShake(seed=0), [branch(1.0), branch(0.0)])
    alpha, beta = assert_one_a_image(result), assert_one_a_image(left)
    np.testing.assert_allclose(right, 1 - left, atol=1e-6)
    assert_uniform(alpha, 0, 1)
    assert_uniform(beta, 0, 1)
    assert_independent(alpha, beta)
    assert_independent(alpha[1:], alpha[:-1])


def test_shake_shake_is_a_convex_combination():
    left, right = RANDOM.normal(size=(2, 50, 3, 3, 4)).astype("float32")
    alpha = apply(layers.ShakeShake(seed=5), [branch(1.0, 50), branch(0.0, 50)], training=True)[:, :1, :1, :1]
    result = apply(layers.ShakeShake(seed=5), [left, right], training=True)
    np.testing.assert_allclose(result, alpha * left + (1 - alpha) * right, atol=1e-5)
    np.testing.assert_allclose(apply(layers.ShakeShake(), [left, right]), (left + right) / 2, atol=1e-6)


def test_shake_drop_scales_by_alpha_forward_and_by_beta_back_where_the_gate_is_closed():
    layer = layers.ShakeDrop(keep_probability=0.6, alpha=(-1, 0.5), beta=(0.25, 0.75), seed=1)
    result, gradient = value_and_gradients(layer, [branch()])
    forward, backward = assert_one_a_image(result), assert_one_a_image(gradient)
    kept = forward == 1
    np.testing.assert_array_equal(kept, backward == 1)
    assert_share(kept, 0.6)
    alpha, beta = forward[~kept], backward[~kept]
    assert_uniform(alpha, -1, 0.5)
    assert_uniform(beta, 0.25, 0.75)
    assert_independent(alpha, beta)
    assert_independent(kept[1:], kept[:-1])


def test_shake_drop_multiplies_the_branch():
    x = RANDOM.normal(size=(50, 3, 3, 4)).astype("float32")
    factor = apply(layers.ShakeDrop(seed=5), branch(1.0, 50), training=True)[:, :1, :1, :1]
    np.testing.assert_allclose(apply(layers.ShakeDrop(seed=5), x, training=True), factor * x, atol=1e-5)


@pytest.mark.parametrize("alpha, expected", [((-1, 1), 0.6), ((0, 1), 0.6 + 0.4 * 0.5), ((0, 0), 0.6)])
def test_shake_drop_takes_the_mean_factor_in_inference(alpha, expected):
    layer = layers.ShakeDrop(keep_probability=0.6, alpha=alpha, seed=2)
    np.testing.assert_allclose(apply(layer, branch(2.0, 1)), 2 * expected, rtol=1e-6)
    drawn = assert_one_a_image(apply(layer, branch(), training=True))
    assert abs(drawn.mean() - expected) < 3.3 * drawn.std() / np.sqrt(IMAGES)


@pytest.mark.parametrize("kind", [layers.ShakeDrop, layers.StochasticDepth])
def test_a_branch_that_is_always_kept_is_not_touched(kind):
    x = RANDOM.normal(size=(8, 3, 3, 4)).astype("float32")
    layer = kind(keep_probability=1.0)
    np.testing.assert_array_equal(apply(layer, x, training=True), x)
    np.testing.assert_array_equal(apply(layer, x), x)


def test_stochastic_depth_keeps_or_drops_the_branch_of_each_image():
    layer = layers.StochasticDepth(keep_probability=0.7, seed=0)
    result, gradient = value_and_gradients(layer, [branch(3.0)])
    kept = assert_one_a_image(result)
    assert set(kept) == {0, 3}
    assert_share(kept == 3, 0.7)
    assert_independent(kept[1:], kept[:-1])
    np.testing.assert_array_equal(gradient, result / 3)
    np.testing.assert_allclose(apply(layer, branch(3.0, 2)), 2.1, rtol=1e-6)


def test_stochastic_depth_per_batch_draws_once_a_batch():
    layer = layers.StochasticDepth(keep_probability=0.7, per="batch", seed=0)
    kept = [apply(layer, branch(3.0, 5), training=True) for _ in range(400)]
    assert {tuple(np.unique(batch)) for batch in kept} == {(0,), (3,)}
    assert_share([batch.max() == 3 for batch in kept], 0.7)
    np.testing.assert_allclose(apply(layer, branch(3.0, 2)), 2.1, rtol=1e-6)


def test_linear_decay():
    assert [layers.linear_decay(block, 10) for block in (0, 1, 10)] == [1, 0.95, 0.5]
    assert layers.linear_decay(3, 4, last=0.2) == pytest.approx(0.4)
    assert layers.linear_decay(15, 16) == 0.53125


def joined(layer, inputs=3, images=IMAGES, column=None, training=True):
    """The share of each input in the result, for each image: (images, inputs)."""
    paths = np.zeros((inputs, images, 2, 2, inputs), "float32")
    for i in range(inputs):
        paths[i, ..., i] = 1  # an input of its own color
    column = None if column is None else ops.convert_to_tensor(np.asarray(column, "int32"))
    result = ops.convert_to_numpy(layer(list(paths), column=column, training=training))
    np.testing.assert_array_equal(result, np.broadcast_to(result[:, :1, :1], result.shape))
    return result[:, 0, 0]


def test_local_drop_path_takes_the_mean_of_the_survivors():
    share = joined(layers.FractalJoin(drop_probability=0.4, seed=0))
    kept = share > 0
    np.testing.assert_allclose(share, kept / kept.sum(axis=1, keepdims=True), atol=1e-6)
    count = np.bincount(kept.sum(axis=1), minlength=4)
    assert count[0] == 0  # at least one survives
    assert_share(kept.sum(axis=1) == 3, 0.6**3)
    assert_share(kept.sum(axis=1) == 2, 3 * 0.6**2 * 0.4)
    for i in range(3):  # each alike, by its own draw or as the last one
        assert_share(kept[:, i], 0.6 + 0.4**3 / 3)
        assert_share(kept[:, i] & (kept.sum(axis=1) == 1), 0.6 * 0.4**2 + 0.4**3 / 3)
    assert_independent(kept[1:, 0], kept[:-1, 0])


def test_the_only_survivor_is_any_input():
    share = joined(layers.FractalJoin(drop_probability=1.0, seed=0))
    np.testing.assert_array_equal(np.sort(share, axis=1), np.tile([0, 0, 1], (IMAGES, 1)))
    for i in range(3):
        assert_share(share[:, i] == 1, 1 / 3)


def test_nothing_is_dropped_with_probability_0():
    np.testing.assert_allclose(joined(layers.FractalJoin(drop_probability=0.0)), 1 / 3, atol=1e-6)


def test_global_drop_path_passes_the_column_of_each_image():
    column = np.tile([0, 1, 2, 3, -1], IMAGES // 5)
    share = joined(layers.FractalJoin(drop_probability=0.4, seed=0), column=column)
    for c in range(3):
        np.testing.assert_array_equal(share[column == c], np.tile(np.eye(3)[c], (IMAGES // 5, 1)))
    np.testing.assert_allclose(share[column == 3], 1 / 3, atol=1e-6)  # the join has no such input
    local = joined(layers.FractalJoin(drop_probability=0.4, seed=0))
    np.testing.assert_array_equal(share[column == -1], local[column == -1])


@pytest.mark.parametrize("column", [None, [0, 1, 2, 3, -1]])
def test_inference_takes_the_mean_of_all_paths(column):
    share = joined(layers.FractalJoin(drop_probability=0.9), images=5, column=column, training=False)
    np.testing.assert_allclose(share, 1 / 3, atol=1e-6)


def test_dropped_paths_get_no_gradient():
    layer = layers.FractalJoin(drop_probability=0.5, seed=3)
    result, left, right = value_and_gradients(layer, [branch(1.0, 200), branch(10.0, 200)])
    np.testing.assert_allclose(result, left + 10 * right, rtol=1e-6)
    np.testing.assert_allclose(left + right, 1, rtol=1e-6)
    assert set(assert_one_a_image(left)) == {0, 0.5, 1}


def test_draw_column():
    layer = layers.DrawColumn(3, probability=0.6, seed=0)
    column = apply(layer, branch(), training=True)
    assert column.dtype == "int32"
    assert_share(column >= 0, 0.6)
    for c in range(3):
        assert_share(column == c, 0.2)
    assert_independent(column[1:], column[:-1])
    np.testing.assert_array_equal(apply(layer, branch()), -1)
    assert (apply(layers.DrawColumn(3, probability=1.0), branch(), training=True) >= 0).all()
    assert (apply(layers.DrawColumn(3, probability=0.0), branch(), training=True) == -1).all()


def test_all_joins_of_a_network_follow_the_column_also_after_saving(tmp_path):
    x = keras.Input((2, 2, 1))
    column = layers.DrawColumn(2, probability=1.0, seed=1)(x)
    first = layers.FractalJoin(seed=2)([x, 10 * x], column=column)
    second = layers.FractalJoin(seed=3)([first, 1000 * x], column=column)
    model = keras.Model(x, second)
    model.save(tmp_path / "fractal.keras")
    for network in (model, keras.models.load_model(tmp_path / "fractal.keras")):
        result = assert_one_a_image(apply(network, np.ones((200, 2, 2, 1), "float32"), training=True))
        assert set(result) == {1, 1000}
        np.testing.assert_allclose(apply(network, np.ones((1, 2, 2, 1), "float32")), (5.5 + 1000) / 2)


def test_channel_shuffle_is_a_transpose_of_groups_and_channels():
    x = RANDOM.normal(size=(4, 5, 3, 12)).astype("float32")
    for groups in (1, 2, 3, 12):
        expected = x.reshape(4, 5, 3, groups, 12 // groups).swapaxes(3, 4).reshape(4, 5, 3, 12)
        np.testing.assert_array_equal(apply(layers.ChannelShuffle(groups), x), expected)


def test_channel_shuffle_keeps_images_apart():
    x = RANDOM.normal(size=(4, 5, 3, 12)).astype("float32")
    layer = layers.ChannelShuffle(3)
    alone = np.concatenate([apply(layer, image[None]) for image in x])
    np.testing.assert_array_equal(apply(layer, x), alone)


def test_split_channels_has_the_groups_in_order():
    x = RANDOM.normal(size=(4, 5, 3, 12)).astype("float32")
    for groups in (1, 2, 3, 12):
        found = [ops.convert_to_numpy(group) for group in layers.SplitChannels(groups)(x)]
        for group, expected in zip(found, np.split(x, groups, axis=-1), strict=True):
            np.testing.assert_array_equal(group, expected)


def test_pad_channels_appends_zeros():
    x = RANDOM.normal(size=(4, 5, 3, 6)).astype("float32")
    result = apply(layers.PadChannels(10), x)
    np.testing.assert_array_equal(result[..., :6], x)
    np.testing.assert_array_equal(result[..., 6:], 0)
    np.testing.assert_array_equal(apply(layers.PadChannels(6), x), x)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: layers.ShakeDrop(1.5), r"keep_probability must be in \[0, 1\], not 1.5"),
        (lambda: layers.ShakeDrop(float("nan")), "not nan"),
        (lambda: layers.ShakeDrop(alpha=(1, -1)), r"alpha must be .* not \(1, -1\)"),
        (lambda: layers.ShakeDrop(beta=(0, 1, 2)), r"beta must be .* not \(0, 1, 2\)"),
        (lambda: layers.StochasticDepth(-0.1), r"keep_probability must be in \[0, 1\], not -0.1"),
        (lambda: layers.StochasticDepth(per="pixel"), "per must be .* not 'pixel'"),
        (lambda: layers.linear_decay(5, 4), "not 5 of 4"),
        (lambda: layers.linear_decay(0, 0), "not 0 of 0"),
        (lambda: layers.linear_decay(1, 4, last=2), "not 2"),
        (lambda: layers.FractalJoin(1.1), "not 1.1"),
        (lambda: layers.FractalJoin()(branch()), "must be a list of tensors"),
        (lambda: layers.FractalJoin()([branch(), branch()[..., :1]]), "of the same shape, not of"),
        (lambda: layers.DrawColumn(0), "columns must be a positive integer, not 0"),
        (lambda: layers.DrawColumn(3, probability=7), "not 7"),
        (lambda: layers.ChannelShuffle(0), "groups must be a positive integer, not 0"),
        (lambda: layers.ChannelShuffle(2.0), "not 2.0"),
        (lambda: layers.ChannelShuffle(2)(branch()), "3 channels do not make groups=2"),
        (lambda: layers.SplitChannels(0), "groups must be a positive integer, not 0"),
        (lambda: layers.SplitChannels(2)(branch()), "3 channels do not make groups=2"),
        (lambda: layers.PadChannels(-1), "channels must be a positive integer, not -1"),
        (lambda: layers.PadChannels(2)(branch()), "cannot pad 3 channels to channels=2"),
        (lambda: layers.ShakeShake()([branch(), branch()[..., :1]]), r"\(2, 2, 3\) and \(2, 2, 1\)"),
        (lambda: layers.ShakeShake()([branch()] * 3), "expects 2 input"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
