"""Pruning: which entries become zero, that they stay zero, and that a pruned training resumes."""

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo import Recipe, fit_cifar10
from cifar_zoo.training.callbacks.pruning import kernels, prune, sparsity_of
from cifar_zoo.training.optimizers import SGD, Muon

RANDOM = np.random.default_rng(0)
SHAPES = {"conv": (3, 3, 4, 8), "dense": (20, 6), "bias": (6,)}
SMALL = Recipe(epochs=4, batch_size=64, learning_rate=0.02, global_clipnorm=1.0, padding=0, sparsity=0.8)


def variables(scale=1.0):
    random = np.random.default_rng(1)
    return [
        keras.Variable(random.normal(0, scale, shape).astype("float32"), name=name) for name, shape in SHAPES.items()
    ]


def values(weights):
    return [ops.convert_to_numpy(weight) for weight in weights]


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_the_smallest_of_all_kernels_are_those_of_torch(sparsity):
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune as reference

    ours = variables()[:2]
    modules = []
    for value in values(ours):
        modules.append(torch.nn.Module())
        modules[-1].weight = torch.nn.Parameter(torch.tensor(value))
    if sparsity:
        reference.global_unstructured([(m, "weight") for m in modules], reference.L1Unstructured, amount=sparsity)
    prune(ours, sparsity)
    for found, module in zip(values(ours), modules, strict=True):
        np.testing.assert_array_equal(found, module.weight.detach().numpy())
    before = values(ours)
    prune(ours, sparsity)  # nothing is left to do
    for found, expected in zip(values(ours), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": False, "l2": 0.1}, {"ema_decay": 0.9}, {"ema_decay": 0.5, "lookahead": 2}],
    ids=str,
)
@pytest.mark.parametrize("optimizer", [SGD, Muon])
def test_zeros_stay_and_all_else_moves(optimizer, options):
    pruned, dense = variables(), variables()
    for group in (pruned, dense):
        prune(group[:2], 0.7)
        group[2].assign(np.zeros(6))
    zeros = [value == 0 for value in values(pruned)]
    one, other = optimizer(0.1, keep_zeros=True, **options), optimizer(0.1, **options)
    one.build(pruned)
    other.build(dense)
    for _ in range(5):
        gradients = [ops.convert_to_tensor(RANDOM.normal(size=shape).astype("float32")) for shape in SHAPES.values()]
        one.apply(gradients)
        other.apply([ops.copy(gradient) for gradient in gradients])
        for found, free, zero in zip(values(pruned)[:2], values(dense)[:2], zeros[:2], strict=True):
            assert (found[zero] == 0).all() and (found[~zero] != 0).all() and (free[zero] != 0).any()
            if optimizer is SGD:  # each entry moves by itself; Muon's step depends on the gradient only
                np.testing.assert_allclose(found[~zero], free[~zero], rtol=1e-5, atol=1e-6)
        assert (values(pruned)[2] != 0).all()  # a bias is no kernel
        for average, zero in zip(one.averaged_weights() or [], zeros[:2], strict=False):
            assert (average[zero] == 0).all() and (average[~zero] != 0).all()
    assert optimizer.from_config(one.get_config()).keep_zeros


class Watch(keras.callbacks.Callback):
    """Records the sparsity at the end of each epoch, and stops the training as Ctrl-C does within one."""

    def __init__(self, interrupt_at=None):
        super().__init__()
        self.found, self.interrupt_at = [], interrupt_at

    def on_train_batch_end(self, batch, logs=None):
        if self.interrupt_at == int(self.model.optimizer.iterations):
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(sparsity_of(self.model.network))


def fit(small_npz, path, recipe=SMALL, model="nin0", **options):
    return fit_cifar10(model, recipe, data=small_npz, run_dir=path, verbose=0, precision="float32", **options)


@pytest.mark.parametrize(
    "change",
    [
        {},
        *(
            pytest.param(each, marks=pytest.mark.full)
            for each in ({"optimizer": "muon"}, {"sam": 0.05}, {"ema_decay": None})
        ),
    ],
    ids=str,
)
def test_the_sparsity_rises_over_half_of_the_epochs(small_npz, tmp_path, change):
    watch = Watch()
    run = fit(small_npz, tmp_path, SMALL.with_(**change), callbacks=[watch])
    expected = [0.8 * (1 - left**3) for left in (0.5, 0, 0, 0)]
    np.testing.assert_allclose(watch.found, expected, atol=1e-3)
    assert run.metrics["sparsity"] == sparsity_of(run.model) == pytest.approx(0.8, abs=2e-3)  # float16 adds some


def test_a_pretrained_network_is_pruned(small_npz, tmp_path):
    model = cifar_zoo.models.squeeze1(weights="cifar10")
    before = [np.abs(value).max() for value in values(kernels(model))]
    run = fit(small_npz, tmp_path, SMALL.with_(epochs=1, learning_rate=1e-6), model)
    for large, after in zip(before, values(kernels(model)), strict=True):
        assert np.abs(after).max() == pytest.approx(large, rel=1e-2)
    assert run.metrics["sparsity"] == pytest.approx(0.8, abs=2e-3)


@pytest.mark.full
def test_an_interrupted_training_ends_as_one_that_was_not(small_npz, tmp_path):
    whole = fit(small_npz, tmp_path / "whole")
    for step in (3, 14, 30):  # in the first, the second and the last epoch of nine steps
        with pytest.raises(KeyboardInterrupt):
            fit(small_npz, tmp_path / "parts", callbacks=[Watch(step)])
    parts = fit(small_npz, tmp_path / "parts")
    for one, other in zip(whole.model.get_weights(), parts.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sparsity_of(parts.model) == whole.metrics["sparsity"]


def test_without_sparsity_zeros_move(small_npz, tmp_path):
    model = cifar_zoo.models.nin0()
    prune(kernels(model), 0.5)
    run = fit(small_npz, tmp_path, SMALL.with_(sparsity=0.0, epochs=1), model)
    assert "sparsity" not in run.metrics
    assert sparsity_of(model) < 0.1
