"""The recipes of the zoo against what was published."""

import math

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, list_models, model_info
from cifar_zoo.training.network import dropout_layers, dropping
from cifar_zoo.training.optimize import learning_rate, optimizer
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import RECIPES, find_recipe, recipes_for

# Published epochs: those of DeepLearning-CNN-Models, the steps of Tensorsandbox and the iterations of the AlexNet notes
# (of 128 images out of 50,000), those of Flax, and the 64,000 iterations of He et al. 2015.
PUBLISHED = {
    "alexnet nin vgg16 inception_v1 inception_v2 inception_v3 inception_v4 resnet50 dilated_conv squeezenet xception "
    "stochastic_depth fractalnet pyramidnet110 resnext50 densenet121 dual_path_net50 dual_path_net92 shufflenet_v2 "
    "mobilenet_v3 se_resnet50 senet154 cbam_resnet50 sknet50 efficientnet_b0": 100,
    "resnet18 wide_resnet28_10 densenet100 se_wide_resnet28_10 inception_resnet_v2": 150,
    "se_resnext50": 120,
    "tuto alex4 nin2 squeeze1": 300_000 * 128 / 50_000,
    "alex0 alex1 alex2 alex3": 100_000 * 128 / 50_000,
    "original_alexnet": 27_000 * 128 / 50_000,
    "tanh_alexnet": 25_800 * 128 / 50_000,
    "small_alexnet": 11_400 * 128 / 50_000,
    "wrn26_10 wrn26_6_shake_shake": 200,
    "pyramidnet272_shake_drop": 300,
    "resnet20 resnet32 resnet44 resnet56 resnet110": 64_000 * 128 / 50_000,
}
EPOCHS = {name: epochs for names, epochs in PUBLISHED.items() for name in names.split()}
TANH = ["resnet18", "resnet50", "inception_v4", "densenet100", "dual_path_net50", "sknet50", "mobilenet_v3"]


def paper(network):
    return find_recipe("paper", network)


def rates(recipe, steps=1):
    """The rate in the first step of each epoch."""
    schedule = learning_rate(recipe, steps)
    return np.array([float(schedule(epoch * steps)) for epoch in range(recipe.epochs)])


def test_every_published_row_has_both_recipes():
    for name in list_models():
        assert "zoo" in recipes_for(name), name
        assert "paper" in recipes_for(name) or not model_info(name).rows, name
    for table in RECIPES.values():
        families = {model_info(name).family for name in list_models()}
        assert set(table) <= {"", *families, *list_models()}


@pytest.mark.parametrize("network, epochs", EPOCHS.items())
def test_published_epochs(network, epochs):
    assert paper(network).epochs == round(epochs)


def test_our_recipe_is_shorter():
    for name in EPOCHS:
        ours, theirs = find_recipe("zoo", name), paper(name)
        assert ours.epochs < theirs.epochs or name == "small_alexnet"


@pytest.mark.parametrize("network", TANH)
def test_tanh_rows_change_their_rate_between_epochs(network):
    """lr / 2 * (1 - tanh(-6 + 9 e / E)), the first epochs replaced by a rise of equal steps."""
    recipe, steps = paper(network), 7
    epochs = np.arange(recipe.epochs)
    expected = 0.05 * (1 - np.tanh(-6 + 9 * epochs / recipe.epochs))
    rise = {"dual_path_net50": 5, "mobilenet_v3": 5, "sknet50": 10}.get(network, 0)
    expected[:rise] = 0.1 / (rise or 1) * (epochs[:rise] + 1)
    np.testing.assert_allclose(rates(recipe, steps), expected, rtol=1e-4)
    schedule = learning_rate(recipe, steps)
    last = [float(schedule(epoch * steps + steps - 1)) for epoch in epochs]
    np.testing.assert_allclose(last, expected, rtol=1e-4)


def test_the_warm_up_of_squeezenet():
    found = rates(paper("squeezenet"))
    np.testing.assert_allclose(found[:5], [0.001, 0.011, 0.021, 0.031, 0.041], rtol=1e-4)
    np.testing.assert_allclose(found[5:], 0.025 * (1 - np.tanh(-6 + 9 * np.arange(5, 100) / 100)), rtol=1e-4)


@pytest.mark.parametrize(
    "network, pieces",
    [
        ("nin", {0: 0.1, 34: 0.1, 35: 0.05, 49: 0.05, 50: 0.01, 74: 0.01, 75: 0.001, 99: 0.001}),
        ("vgg16", {0: 0.1, 55: 0.1, 56: 0.05, 75: 0.05, 76: 0.01, 90: 0.01, 91: 0.002}),
        ("inception_v1", {39: 0.1, 40: 0.05, 60: 0.01, 85: 0.002}),
        (
            "alexnet",
            {0: 0.02, 1: 0.04, 4: 0.1, 24: 0.1, 25: 0.05, 40: 0.01, 60: 0.002, 75: 0.0005, 90: 0.0001, 99: 0.0001},
        ),
        ("wrn26_10", {0: 0.1, 59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
        ("pyramidnet272_shake_drop", {149: 0.1, 150: 0.01, 225: 0.001}),
        ("resnet56", {81: 0.1, 82: 0.01, 123: 0.001}),
        ("squeeze1", {0: 0.1, 767: 0.1}),
    ],
)
def test_rows_with_steps(network, pieces):
    found = rates(paper(network))
    for epoch, rate in pieces.items():
        assert found[epoch] == pytest.approx(rate, rel=1e-4), epoch


def test_the_factors_of_the_penalty():
    """The factor that multiplies a kernel in its gradient; that of sum(w ** 2) without the half counts twice."""
    expected = {"alexnet": 1e-3, "vgg16": 1e-3, "inception_v2": 1e-3, "nin": 2e-4, "resnet18": 2e-4, "wrn26_10": 5e-4}
    expected |= {"pyramidnet272_shake_drop": 1e-4, "nin2": 0.0, "resnet20": 1e-4}
    assert {name: paper(name).l2 for name in expected} == expected


def test_the_penalty_of_the_tutorial_goes_by_layer():
    """500 over the number of weights, on hidden dense layers only: 5.65e-4 and 6.78e-3."""
    model = cifar_zoo.create_model("tuto")
    sgd = optimizer(paper("tuto"), 5, "float32", model)
    sgd.build(model.trainable_variables)
    weights = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    sgd.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    factors = {}
    for before, variable in zip(weights, model.trainable_variables, strict=True):
        moved = before - keras.ops.convert_to_numpy(variable)
        if np.abs(moved).max() > 0:  # all else than the penalty's gradient is zero
            factors[variable.path] = np.median(moved[before != 0] / before[before != 0]) / 0.1
    assert len(factors) == 2
    assert sorted(factors.values()) == pytest.approx([5.65e-4, 6.78e-3], rel=2e-3)


def test_the_images_of_the_rows():
    resnet, wide, sandbox = paper("resnet50"), paper("wide_resnet28_10"), paper("alex1")
    assert (resnet.rotation, resnet.shift, resnet.shear, resnet.zoom, resnet.flip) == (15, 0.1, 0.1, 0.1, True)
    assert (wide.shift, wide.shear, wide.zoom, wide.dropout, wide.label_smoothing) == (0.125, 0.125, 0.125, 0.3, 0.1)
    assert (sandbox.brightness, sandbox.contrast, sandbox.padding, sandbox.rotation) == (63, 0.8, 0, 0)
    assert (sandbox.momentum, sandbox.ema_decay, sandbox.global_clipnorm) == (0, 0.9999, None)
    assert paper("nin").label_smoothing == 0 and paper("nin").clipnorm is None
    assert resnet.clipnorm == 2 and paper("squeezenet").batch_size == 32 and paper("wrn26_10").batch_size == 256


def test_both_rows_of_the_wide_network():
    first, second = (RECIPES[name]["se_wide_resnet28_10"] for name in ("paper", "paper2"))
    assert (first.epochs, first.dropout, first.mixup) == (150, 0.2, 0.2)
    assert second == first.with_(epochs=220, dropout=0.1)
    with pytest.raises(CifarZooError, match="there is no recipe 'paper2' for resnet18; there are zoo, paper"):
        find_recipe("paper2", "resnet18")


def test_dropout_for_a_while():
    model = cifar_zoo.create_model("nin")
    own = [layer.rate for layer in dropout_layers(model)]
    assert own == [0.5, 0.5]
    x = np.random.default_rng(0).uniform(0, 255, (64, 32, 32, 3)).astype("float32")
    layer = keras.Model(model.input, dropout_layers(model)[0].output)
    with dropping(model, 0.25):
        dropped = np.mean(keras.ops.convert_to_numpy(layer(x, training=True)) == 0)
    kept = keras.ops.convert_to_numpy(keras.Model(model.input, dropout_layers(model)[0].input)(x, training=True))
    zeros = np.mean(kept == 0)
    assert dropped == pytest.approx(zeros + 0.25 * (1 - zeros), abs=0.01)
    assert [layer.rate for layer in dropout_layers(model)] == own


def test_other_epochs_stretch_a_recipe():
    recipe = paper("nin").for_epochs(10)
    assert (recipe.epochs, recipe.decay_epochs) == (10, (3.5, 5.0, 7.5))
    assert recipe.for_epochs(10) == recipe
    tanh = paper("resnet18").for_epochs(15)
    np.testing.assert_allclose(rates(tanh), rates(paper("resnet18"))[::10], rtol=1e-4)
    short = Recipe(epochs=1, warmup_epochs=5.0, staircase=True, schedule="constant")
    assert math.isclose(rates(short)[0], 0.1, rel_tol=1e-6)
