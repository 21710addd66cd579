"""SGD against a direct computation and PyTorch, with changing learning rates."""

import keras
import numpy as np
import pytest
from keras import ops

from cifar_zoo import schedules
from cifar_zoo.training.optimizers import SGD, Muon

INF, NAN = float("inf"), float("nan")
RATES = [0.1] * 5 + [0.02] * 5 + [0.2] * 5 + [0.001] * 5
RANDOM = np.random.default_rng(0)
START = {"kernel": RANDOM.normal(size=(5, 3)), "bias": RANDOM.normal(size=3)}
MATRIX = RANDOM.normal(size=(20, 8, 5))


def gradients(weights, step):
    """Of 0.5 * |x @ kernel + bias|^2 / 8 for the step's x."""
    x = MATRIX[step]
    out = (x @ weights["kernel"] + weights["bias"]) / 8
    return {"kernel": x.T @ out, "bias": out.sum(axis=0)}


def reference(momentum, nesterov, l2):
    weights = {name: value.copy() for name, value in START.items()}
    buffers = {name: np.zeros_like(value) for name, value in START.items()}
    for step, rate in enumerate(RATES):
        for name, gradient in gradients(weights, step).items():
            if name == "kernel":
                gradient = gradient + l2 * weights[name]
            buffers[name] = momentum * buffers[name] + gradient
            weights[name] = weights[name] - rate * (gradient + momentum * buffers[name] if nesterov else buffers[name])
    return weights


def ours(**options):
    variables = {name: keras.Variable(value.astype("float32"), name=name) for name, value in START.items()}
    optimizer = SGD(**options)
    optimizer.build(list(variables.values()))
    for step, rate in enumerate(RATES):
        optimizer.learning_rate = rate
        values = {name: ops.convert_to_numpy(variable).astype("float64") for name, variable in variables.items()}
        found = gradients(values, step)
        optimizer.apply([ops.convert_to_tensor(found[name].astype("float32")) for name in variables])
    return {name: ops.convert_to_numpy(variable) for name, variable in variables.items()}, optimizer


@pytest.mark.parametrize("momentum, nesterov, l2", [(0.9, True, 5e-2), (0.9, False, 5e-2), (0.0, False, 0.0)])
def test_trajectory(momentum, nesterov, l2):
    expected = reference(momentum, nesterov, l2)
    found, _ = ours(momentum=momentum, nesterov=nesterov, l2=l2)
    for name in START:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, atol=1e-6)


def test_a_learning_rate_that_is_set_scales_the_rest_of_its_schedule():
    """So that it is the given one now, and follows the schedule from then on."""
    expected = reference(0.9, True, 5e-2)
    schedule = schedules.CosineDecay(0.3, 100)
    found, optimizer = ours(learning_rate=schedule, momentum=0.9, nesterov=True, l2=5e-2)
    for name in START:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, atol=1e-6)
    factor = RATES[-1] / float(schedule(len(RATES) - 1))
    assert float(optimizer.learning_rate) == pytest.approx(factor * float(schedule(len(RATES))), rel=1e-5)


def test_a_schedule_at_zero_cannot_be_scaled():
    optimizer = SGD(schedules.WarmUp(schedules.CosineDecay(0.3, 100), 10, 0.0))
    with pytest.raises(ValueError, match=r"the schedule of the learning rate is at 0, which no factor makes 0\.5"):
        optimizer.learning_rate = 0.5


@pytest.mark.parametrize("nesterov", [True, False])
def test_trajectory_is_that_of_torch(nesterov):
    torch = pytest.importorskip("torch")
    weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in START.items()}
    groups = [{"params": [weights["kernel"]], "weight_decay": 5e-2}, {"params": [weights["bias"]]}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=nesterov)
    for step, rate in enumerate(RATES):
        for group in optimizer.param_groups:
            group["lr"] = rate
        found = gradients({name: weight.detach().numpy() for name, weight in weights.items()}, step)
        for name, weight in weights.items():
            weight.grad = torch.tensor(found[name])
        optimizer.step()
    found, _ = ours(momentum=0.9, nesterov=nesterov, l2=5e-2)
    for name in START:
        np.testing.assert_allclose(found[name], weights[name].detach().numpy(), rtol=2e-5, atol=1e-6)


def layers_of(shapes):
    """A variable "kernel" in each of some layers."""
    variables = []
    for layer, shape in shapes.items():
        with keras.name_scope(layer):
            variables.append(
                keras.Variable(np.random.default_rng(1).normal(size=shape).astype("float32"), name="kernel")
            )
    return variables


def apply_to_both(ours, theirs, weights, step):
    """A step of our optimizer and of PyTorch's, whose `weights` these are, with the same random gradients."""
    import torch

    random = np.random.default_rng(step)
    gradients = [random.normal(size=tuple(weight.shape)).astype("float32") for weight in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = torch.tensor(gradient)
    theirs.step()
    ours.apply([ops.convert_to_tensor(gradient) for gradient in gradients])


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_l2_by_path_is_that_of_torch_by_group(ema_decay):
    torch = pytest.importorskip("torch")
    shapes = {"dense1": (6, 5), "dense2": (5, 4), "classifier": (4, 3)}
    factors = {"dense1": 0.05, "dense2": 0.2, "classifier": 0.0}
    variables = layers_of(shapes)
    weights = [torch.nn.Parameter(torch.tensor(ops.convert_to_numpy(variable))) for variable in variables]
    groups = [{"params": [w], "weight_decay": factor} for w, factor in zip(weights, factors.values(), strict=True)]
    theirs = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    ours = SGD(0.1, l2={"dense1/kernel": 0.05, "dense2/kernel": 0.2}, ema_decay=ema_decay)
    ours.build(variables)
    for step in range(8):
        apply_to_both(ours, theirs, weights, step)
    for variable, weight in zip(variables, weights, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), weight.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("argument", ["l2", "lr_multipliers"])
def test_an_unknown_path_is_refused(argument):
    optimizer = SGD(**{argument: {"dense1/kernel": 0.1, "dens2/kernel": 0.1}})
    with pytest.raises(ValueError, match="'dens2/kernel', which no variable has; the nearest is 'dense2/kernel'"):
        optimizer.build(layers_of({"dense1": (3, 2), "dense2": (2, 2), "classifier": (2, 2)}))


@pytest.mark.parametrize("optimizer", [SGD, Muon])
def test_lr_multipliers_are_groups_of_torch(optimizer):
    torch = pytest.importorskip("torch")
    shapes = {"dense1": (6,), "dense2": (5,), "classifier": (4,)}  # vectors, which Muon leaves to SGD
    variables = layers_of(shapes)
    weights = [torch.nn.Parameter(torch.tensor(ops.convert_to_numpy(variable))) for variable in variables]
    theirs = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=0.1, momentum=0.9, nesterov=True)
    until_step_3 = schedules.PiecewiseByEpoch((3,), (1.0, 0.0), steps_per_epoch=1)
    ours = optimizer(0.1, momentum=0.9, lr_multipliers={"dense1/kernel": 64.0, "dense2/kernel": until_step_3})
    ours.build(variables)
    for step in range(8):
        for group, factor in zip(theirs.param_groups, (64.0, 1.0 if step < 3 else 0.0, 1.0), strict=True):
            group["lr"] = 0.1 * factor
        apply_to_both(ours, theirs, weights, step)
    for variable, weight in zip(variables, weights, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), weight.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimizer", [SGD, Muon])
def test_lookahead(optimizer):
    """Against its definition: fast steps, and after every third one a pull towards slow weights."""
    start = RANDOM.normal(size=7).astype("float32")
    fast, slow, momentum = start.astype("float64"), start.astype("float64"), np.zeros(7)
    variable = keras.Variable(start, name="bias")
    ours = optimizer(0.1, momentum=0.9, ema_decay=schedules.PowerRise(0.8, 12, 3), lookahead=3)
    ours.build([variable])
    np.testing.assert_array_equal(ours.averaged_weights()[0], start)
    for step in range(1, 9):
        gradient = np.random.default_rng(step).normal(size=7).astype("float32")
        momentum = 0.9 * momentum + gradient
        fast = fast - 0.1 * (gradient + 0.9 * momentum)
        if step % 3 == 0:
            decay = 0.8 * (step / 12) ** 3
            slow = decay * slow + (1 - decay) * fast
            fast = slow
        ours.apply([ops.convert_to_tensor(gradient)])
        np.testing.assert_allclose(ops.convert_to_numpy(variable), fast, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ours.averaged_weights()[0], slow, rtol=1e-5, atol=1e-6)


def test_gradients_may_lie_in_memory_in_any_order():
    gradient = RANDOM.normal(size=(3, 5)).astype("float32")
    variable = keras.Variable(np.zeros((5, 3), "float32"))
    SGD(1.0, momentum=0.0, nesterov=False).apply([ops.transpose(ops.convert_to_tensor(gradient))], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable), -gradient.T)


def test_the_average_of_the_weights():
    decay, average, weights = 0.8, None, []
    found, optimizer = ours(momentum=0.9, l2=0.0, ema_decay=decay)
    # The same run again, weight by weight, with the definition of a capped moving average.
    variable = keras.Variable(START["kernel"].astype("float32"), name="kernel")
    bias = keras.Variable(START["bias"].astype("float32"), name="bias")
    plain = SGD(momentum=0.9)
    plain.build([variable, bias])
    for step, rate in enumerate(RATES):
        plain.learning_rate = rate
        values = {"kernel": ops.convert_to_numpy(variable), "bias": ops.convert_to_numpy(bias)}
        gradient = gradients({name: value.astype("float64") for name, value in values.items()}, step)
        plain.apply([ops.convert_to_tensor(gradient[name].astype("float32")) for name in ("kernel", "bias")])
        weights.append(ops.convert_to_numpy(variable))
    for t, value in enumerate(weights):
        d = min(decay, (1 + t) / (10 + t))
        average = value if average is None else d * average + (1 - d) * value
    np.testing.assert_allclose(optimizer.averaged_weights()[0], average, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["kernel"], weights[-1], rtol=1e-6)
    assert plain.averaged_weights() is None


def test_the_average_of_the_weights_is_that_of_torch():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    linear = torch.nn.Linear(3, 5)
    averaged = AveragedModel(linear, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    theirs = torch.optim.SGD(linear.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    variables = [
        keras.Variable(weight.detach().numpy(), name=name)
        for name, weight in zip(("kernel", "bias"), linear.parameters(), strict=True)
    ]
    constant = schedules.PiecewiseByEpoch((), (0.8,), 1)  # torch does not cap the decay
    optimizer = SGD(0.1, momentum=0.9, ema_decay=constant)
    optimizer.build(variables)
    for step in range(8):
        apply_to_both(optimizer, theirs, list(linear.parameters()), step)
        averaged.update_parameters(linear)
        for average, weight in zip(optimizer.averaged_weights(), averaged.module.parameters(), strict=True):
            np.testing.assert_allclose(average, weight.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", [SGD, Muon])
@pytest.mark.parametrize(
    "options",
    [{"ema_decay": 0.999}, {"ema_decay": 0.5, "lookahead": 3}, {"ema_decay": schedules.PowerRise(0.8, 10)}],
)
def test_the_average_of_weights_that_stay_is_these_weights(optimizer, options):
    """To the bit, from the first step on, and also for weights that are loaded after the optimizer is built."""
    variables = layers_of({"dense": (6, 5), "classifier": (5, 3)})
    ours = optimizer(0.0, **options)
    ours.build(variables)
    for variable in variables:
        variable.assign(RANDOM.normal(size=variable.shape).astype("float32"))
    loaded = [ops.convert_to_numpy(variable).copy() for variable in variables]
    for step in range(8):
        for average, weight in zip(ours.averaged_weights(), loaded, strict=True):
            np.testing.assert_array_equal(average, weight, err_msg=f"after {step} steps")
        ours.apply([ops.zeros(variable.shape) for variable in variables])


@pytest.mark.parametrize("lookahead", [0, 2])
def test_the_average_in_a_compiled_training_starts_at_the_weights(lookahead):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False, name="classifier")])
    optimizer = SGD(0.0, ema_decay=0.99, lookahead=lookahead)
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    model.set_weights([np.full((4, 3), 0.1, "float32")])
    model.fit(np.ones((8, 4), "float32"), np.ones((8, 3), "float32"), batch_size=2, epochs=2, verbose=0)
    np.testing.assert_array_equal(optimizer.averaged_weights()[0], np.full((4, 3), 0.1, "float32"))
    assert len(optimizer.variables) == 4  # iterations, learning rate, momentum and average


def test_clipping_by_the_norm_of_the_whole_gradient():
    variables = [keras.Variable(np.zeros((2, 2), "float32")), keras.Variable(np.zeros(2, "float32"))]
    optimizer = SGD(1.0, momentum=0.0, nesterov=False, global_clipnorm=1.0)
    optimizer.apply([ops.full((2, 2), 3.0), ops.full((2,), 4.0)], variables)
    norm = np.sqrt(4 * 9 + 2 * 16)
    np.testing.assert_allclose(ops.convert_to_numpy(variables[0]), -3 / norm * np.ones((2, 2)), rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(variables[1]), -4 / norm * np.ones(2), rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"l2": 1e-3, "ema_decay": 0.99, "global_clipnorm": 2.0},
        {"l2": {"dense1/kernel": 1e-3, "dense2/kernel": 2e-3}},
        {"ema_decay": schedules.PowerRise(0.8, 100), "lookahead": 5},
        {"lr_multipliers": {"dense1/kernel": 2.0, "dense2/kernel": schedules.PiecewiseByEpoch((3,), (1.0, 0.0), 5)}},
    ],
)
def test_serialization(options):
    optimizer = SGD(0.3, momentum=0.8, nesterov=False, **options)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_a_configuration_may_lack_what_is_by_default():
    again = SGD.from_config({"learning_rate": 0.3, "ema_decay": 0.9})
    assert again.get_config() == SGD(0.3, ema_decay=0.9).get_config()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"learning_rate": -0.1}, "learning_rate must be 0 or more, not -0.1"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), not 1.0"),
        ({"l2": -1e-4}, "l2 must be 0 or more, not -0.0001"),
        ({"l2": {"dense1/kernel": 0.1, "dense2/kernel": -0.1}}, "l2 must be 0 or more, not -0.1"),
        ({"lookahead": 5}, "lookahead must be 0 or more, and 0 where ema_decay is None, not 5"),
        ({"lookahead": -1, "ema_decay": 0.9}, "lookahead must be .* not -1"),
        ({"ema_decay": 1.5}, r"ema_decay must be None or in \[0, 1\), not 1.5"),
        ({"ema_decay": np.float32(1.5)}, r"ema_decay must be None or in \[0, 1\), not 1.5"),
        ({"lr_multipliers": {"dense1/kernel": -1.0}}, "lr_multipliers must be 0 or more, not -1.0"),
        ({"learning_rate": INF}, "learning_rate must be 0 or more and finite, not inf"),
        ({"learning_rate": NAN}, "learning_rate must be 0 or more and finite, not nan"),
        ({"momentum": NAN}, r"momentum must be in \[0, 1\), not nan"),
        ({"l2": INF}, "l2 must be 0 or more and finite, not inf"),
        ({"l2": {"dense1/kernel": NAN}}, "l2 must be 0 or more and finite, not nan"),
        ({"ema_decay": NAN}, r"ema_decay must be None or in \[0, 1\), not nan"),
        ({"lookahead": NAN, "ema_decay": 0.9}, "lookahead must be .* not nan"),
        ({"lookahead": INF, "ema_decay": 0.9}, "lookahead must be .* not inf"),
        ({"lr_multipliers": {"dense1/kernel": INF}}, "lr_multipliers must be 0 or more and finite, not inf"),
    ],
)
def test_bad_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SGD(**options)
