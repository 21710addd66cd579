"""Muon against the polar factor, torch's Muon for matrices, and SGD for all other weights."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo.training.optimizers.muon import Muon, orthogonalize
from cifar_zoo.training.optimizers.sgd import SGD

RANDOM = np.random.default_rng(0)
SHAPES = {
    "conv/kernel": (3, 3, 4, 16),
    "wide/kernel": (1, 1, 8, 32),
    "grouped/kernel": (3, 3, 2, 8),
    "dense/kernel": (12, 7),
    "depthwise/kernel": (3, 3, 6, 1),
    "separable/depthwise_kernel": (3, 3, 5, 2),
    "one_input/kernel": (1, 5),
    "classifier/kernel": (16, 10),
    "conv/bias": (16,),
}
DEPTHWISE = ["depthwise/kernel", "separable/depthwise_kernel"]
MATRICES = list(SHAPES)[:4] + DEPTHWISE
STEPS = [{name: RANDOM.normal(size=shape).astype("float32") for name, shape in SHAPES.items()} for _ in range(6)]
RATES = [0.1, 0.1, 0.05, 0.05, 0.2, 0.2]


def trajectory(optimizer, names=tuple(SHAPES)):
    """The weights after STEPS by RATES."""
    start = np.random.default_rng(1)
    variables = []
    for name in names:
        layer, weight = name.split("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(start.normal(size=SHAPES[name]).astype("float32"), name=weight))
    optimizer.build(variables)
    values = [[ops.convert_to_numpy(variable) for variable in variables]]
    for gradients, rate in zip(STEPS, RATES, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([ops.convert_to_tensor(gradients[name]) for name in names])
        values.append([ops.convert_to_numpy(variable) for variable in variables])
    return [dict(zip(names, weights, strict=True)) for weights in values]


def matrices(name, kernel):
    """The matrices (inputs, outputs) of a kernel: one, or one for each channel of a depthwise convolution."""
    if name in DEPTHWISE:
        return [kernel[:, :, channel].reshape(9, -1) for channel in range(kernel.shape[2])]
    return [kernel.reshape(-1, kernel.shape[-1])]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(27, 16), (16, 27), (144, 16), (20, 20)])
def test_it_is_near_the_polar_factor(shape, dtype):
    matrix = RANDOM.normal(size=shape).astype("float32")
    found = ops.convert_to_numpy(orthogonalize(ops.convert_to_tensor(matrix), dtype))
    u, _, vh = np.linalg.svd(matrix, full_matrices=False)
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() > 0.6 and values.max() < 1.3
    # The same singular vectors: seen from them the result is diagonal.
    seen = u.T @ found @ vh.T
    np.testing.assert_allclose(seen, np.diag(np.diag(seen)), atol=1e-4 if dtype == "float32" else 0.1)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 0.02), ("bfloat16", 0.1)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_matrices_follow_torch(dtype, tolerance, nesterov):
    torch = pytest.importorskip("torch", minversion="2.9")
    names = ("dense/kernel",)
    ours = trajectory(Muon(momentum=0.9, nesterov=nesterov, l2=0.1, matrix_dtype=dtype), names)
    # torch's matrices are (outputs, inputs), and it orthogonalizes in bfloat16
    weight = torch.nn.Parameter(torch.tensor(ours[0]["dense/kernel"].T.copy()))
    optimizer = torch.optim.Muon([weight], lr=0.1, weight_decay=0.1, momentum=0.9, nesterov=nesterov)
    for step, (gradients, rate) in enumerate(zip(STEPS, RATES, strict=True)):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradients["dense/kernel"].T.copy())
        optimizer.step()
        theirs = weight.detach().numpy().T
        np.testing.assert_allclose(ours[step + 1]["dense/kernel"], theirs, atol=tolerance * sum(RATES[: step + 1]))


def test_the_step_of_every_hidden_kernel_is_orthogonal_and_scaled():
    before, after = trajectory(Muon(momentum=0.9))[:2]
    for name in MATRICES:
        for step in matrices(name, (before[name] - after[name]) / RATES[0]):
            inputs, outputs = step.shape
            values = np.linalg.svd(step, compute_uv=False) / np.sqrt(max(1, outputs / inputs))
            assert values.min() > 0.6 and values.max() < 1.3, name


def test_every_channel_of_a_depthwise_kernel_follows_the_rule_of_a_convolution_with_one_input():
    name = "separable/depthwise_kernel"
    together = trajectory(Muon(l2=0.1), [name])
    for channel in range(5):
        kernel = keras.Variable(together[0][name][:, :, channel : channel + 1], name="kernel")
        optimizer = Muon(l2=0.1)
        optimizer.build([kernel])
        for gradients, rate, after in zip(STEPS, RATES, together[1:], strict=True):
            optimizer.learning_rate = rate
            optimizer.apply([ops.convert_to_tensor(gradients[name][:, :, channel : channel + 1])])
            alone = ops.convert_to_numpy(kernel)[:, :, 0]
            np.testing.assert_allclose(after[name][:, :, channel], alone, rtol=1e-4, atol=1e-5)


def test_l2_by_path_shrinks_only_the_matrices_it_names():
    plain = trajectory(Muon(momentum=0.9))[1]
    shrunk = trajectory(Muon(momentum=0.9, l2={"conv/kernel": 0.1}))
    for name in SHAPES:
        penalty = RATES[0] * 0.1 * shrunk[0][name] if name == "conv/kernel" else 0.0
        np.testing.assert_allclose(shrunk[1][name], plain[name] - penalty, rtol=1e-5, atol=1e-6)


def test_a_fixed_norm_leaves_the_step_and_takes_the_place_of_the_penalty():
    plain, fixed = trajectory(Muon()), trajectory(Muon(fixed_norm=True, l2=0.1, sgd_lr_multiplier=1.0))
    for name in MATRICES:
        norm = np.sqrt(SHAPES[name][-1])
        for found, expected in zip(matrices(name, fixed[1][name]), matrices(name, plain[1][name]), strict=True):
            np.testing.assert_allclose(found, norm * expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6)
        norms = [np.linalg.norm(matrix) for weights in fixed[1:] for matrix in matrices(name, weights[name])]
        np.testing.assert_allclose(norms, norm, rtol=1e-5)
    penalty = RATES[0] * (1 + 0.95) * 0.1 * plain[0]["classifier/kernel"]  # as all other weights have it
    expected = plain[1]["classifier/kernel"] - penalty
    np.testing.assert_allclose(fixed[1]["classifier/kernel"], expected, rtol=1e-5, atol=1e-6)


def test_all_other_weights_follow_sgd():
    options = {"momentum": 0.9, "l2": 0.01, "ema_decay": 0.9}
    muon, sgd = Muon(sgd_lr_multiplier=1.0, **options), SGD(**options)
    found, expected = trajectory(muon)[-1], trajectory(sgd)[-1]
    for name, average, average_2 in zip(SHAPES, muon.averaged_weights(), sgd.averaged_weights(), strict=True):
        same = np.allclose(found[name], expected[name], rtol=1e-6), np.allclose(average, average_2, rtol=1e-6)
        assert same == ((False, False) if name in MATRICES else (True, True)), name


def test_the_rate_of_all_other_weights_has_its_ratio():
    before, after = trajectory(Muon(sgd_lr_multiplier=0.5, momentum=0.0))[:2]
    name = "conv/bias"
    np.testing.assert_allclose(after[name], before[name] - 0.5 * RATES[0] * STEPS[0][name], rtol=1e-5)


def test_what_is_excluded_is_named():
    before, after = trajectory(Muon(exclude=("conv", "dense"), momentum=0.0))[:2]
    for name in SHAPES:
        plain = np.allclose(after[name], before[name] - RATES[0] * STEPS[0][name], atol=1e-6)
        assert plain == (name not in ("wide/kernel", "grouped/kernel", *DEPTHWISE, "classifier/kernel")), name


def test_kernels_of_a_network_are_found_by_their_paths():
    from cifar_zoo import create_model

    model = create_model("resnet20")
    optimizer = Muon()
    optimizer.build(model.trainable_variables)
    chosen = [v.path for v, yes in zip(model.trainable_variables, optimizer._is_matrix, strict=True) if yes]
    kernels = [v.path for v in model.trainable_variables if len(v.shape) == 4]
    assert chosen == kernels and len(chosen) == 21  # 19 convolutions and two projections; not the classifier


@pytest.mark.parametrize("lookahead", [0, 2])
def test_clipping_averages_and_training_go_together(lookahead):
    """In Keras' own compiled step."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="classifier"),
        ]
    )
    optimizer = Muon(0.05, l2=1e-4, ema_decay=0.5, lookahead=lookahead, global_clipnorm=1.0)
    model.compile(optimizer, "mse")
    x = RANDOM.normal(size=(64, 8, 8, 3)).astype("float32")
    y = x.mean(axis=(1, 2))
    losses = model.fit(x, y, epochs=8, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_serialization():
    optimizer = Muon(0.3, 0.8, 0.25, ("head",), ("dw",), "bfloat16", True, nesterov=False, l2=1e-3, ema_decay=0.99)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="sgd_lr_multiplier must be positive, not 0"):
        Muon(sgd_lr_multiplier=0)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"sgd_lr_multiplier must be positive and finite, not {value}"):
            Muon(sgd_lr_multiplier=value)
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), not 1"):
        Muon(momentum=1)
