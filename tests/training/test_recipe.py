"""Recipes as data."""

import json
from pathlib import Path

import pytest

from cifar_zoo import CifarZooError, Recipe
from cifar_zoo.training.recipes import RECIPES, find_recipe


def test_json_and_back():
    for table in RECIPES.values():
        for recipe in table.values():
            assert Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_all_fields_go_to_json_and_back():
    recipe = Recipe(
        schedule="piecewise", decay_epochs=(20, 30.5), decay_factors=[0.2, 0.04], optimizer="muon", sam=0.1, cutmix=1.0
    )
    assert recipe.decay_factors == (0.2, 0.04)
    again = Recipe(**json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe and again.decay_epochs == (20, 30.5)
    assert recipe.to_dict()["decay_epochs"] == [20, 30.5]
    assert hash(again) == hash(recipe)


def test_the_recipes_of_earlier_weights_can_be_read():
    for file in (Path(__file__).parents[2] / "weights").glob("*/*/config.json"):
        fields = json.loads(file.read_text())["recipe"]
        assert Recipe(**fields).to_dict().items() >= fields.items()


def test_the_own_recipe_comes_before_the_family_and_the_common_one():
    assert find_recipe("zoo", "resnet18") == RECIPES["zoo"][""]
    assert find_recipe("zoo", "alex0") == RECIPES["zoo"]["sandbox"]
    assert find_recipe("zoo", "squeeze1") == RECIPES["zoo"]["squeeze1"] != RECIPES["zoo"]["sandbox"]
    with pytest.raises(CifarZooError, match="no recipe 'seeds'; there are zoo"):
        find_recipe("seeds")
    with pytest.raises(CifarZooError, match="no recipe 'paper' for networks of your own; there are zoo"):
        find_recipe("paper")


def test_settings_are_read_by_the_type_of_the_field():
    texts = ["epochs=3", "l2=1e-3", "flip=False", "global_clipnorm=none", "ema_decay=0.99", "schedule=piecewise"]
    recipe = Recipe(global_clipnorm=1.0).with_settings([*texts, "decay_epochs=1,2.5", "decay_factors=0.2,0.04"])
    assert recipe == Recipe(
        epochs=3, l2=1e-3, flip=False, ema_decay=0.99, schedule="piecewise", decay_epochs=(1, 2.5),
        decay_factors=(0.2, 0.04),
    )  # fmt: skip
    plain = {name: ",".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in recipe.to_dict().items()}
    assert Recipe().with_settings(f"{name}={text}" for name, text in plain.items()) == recipe


@pytest.mark.parametrize(
    "setting, message",
    [
        ("epochs=2.5", "epochs must be int, not '2.5'"),
        ("flip=yes", "flip must be bool, not 'yes'"),
        ("l2=none", "l2 must be float or int, not 'none'"),
        ("global_clipnorm=big", "global_clipnorm must be float or int or None, not 'big'"),
        ("cutuot=8", "no field 'cutuot'; did you mean 'cutout'"),
        ("cutout", "a setting is written field=value, not 'cutout'"),
        ("decay_epochs=a,b", "decay_epochs must be numbers"),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(CifarZooError, match=message):
        Recipe().with_settings([setting])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "epochs must be positive, not 0"),
        ({"epochs": 1.5}, "epochs must be int, not 1.5"),
        ({"epochs": True}, "epochs must be int, not True"),
        ({"learning_rate": -1.0}, "learning_rate must be positive, not -1.0"),
        ({"schedule": "linear"}, "schedule must be 'cosine' or .* or 'triangular', not 'linear'"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), not 1.0"),
        ({"ema_decay": 1.0}, "ema_decay must be None or in"),
        ({"global_clipnorm": "1"}, "global_clipnorm must be float or int or None, not '1'"),
        ({"momentum": 1.0}, "momentum must be in"),
        (
            {"decay_epochs": (3,), "decay_factors": (0.1,)},
            r"given for schedule='piecewise' and for no other, not \(3,\)",
        ),
        ({"schedule": "piecewise"}, r"decay_epochs must be given for schedule='piecewise' and for no other, not \(\)"),
        (
            {"schedule": "piecewise", "decay_epochs": (3, 2)},
            r"decay_epochs must be positive epochs that rise, not \(3, 2\)",
        ),
        ({"schedule": "piecewise", "decay_epochs": (3,)}, r"decay_factors must be as many as decay_epochs, not \(\)"),
        ({"schedule": "piecewise", "decay_epochs": (3,), "decay_factors": (-1,)}, "decay_factors must be 0 or more"),
        ({"decay_epochs": ("3",)}, "decay_epochs must be numbers, not "),
        ({"decay_epochs": 3}, "decay_epochs must be tuple, not 3"),
        ({"warmup_start": 2.0}, r"warmup_start must be None or in \[0, 1\], not 2.0"),
        ({"dense_l2": 500.0}, "dense_l2 must be 0 where l2 is not, not 500.0"),
        ({"clipnorm": 0.0}, "clipnorm must be None or positive, not 0.0"),
        ({"clipnorm": 2.0, "global_clipnorm": 1.0}, "clipnorm must be None where global_clipnorm is not"),
        ({"dropout": 1.0}, r"dropout must be None or in \[0, 1\), not 1.0"),
        ({"optimizer": "adam"}, "optimizer must be 'sgd' or 'muon', not 'adam'"),
        ({"sgd_lr_multiplier": 0}, "sgd_lr_multiplier must be positive, not 0"),
        ({"fixed_norm": True}, "fixed_norm must be False where optimizer is not 'muon', not True"),
        ({"sam": -0.1}, "sam must be 0 or more, not -0.1"),
        ({"adaptive_sam": True}, "adaptive_sam must be False where sam is 0, not True"),
        ({"bn_bias_lr_multiplier": 0.0}, "bn_bias_lr_multiplier must be positive, not 0.0"),
        (
            {"bn_bias_lr_multiplier": 64.0, "l2": 0.0, "dense_l2": 500.0},
            "bn_bias_lr_multiplier must be 1 where dense_l2 is not 0, not 64.0",
        ),
        ({"whitening_bias_epochs": 0}, "whitening_bias_epochs must be None or positive, not 0"),
        ({"lookahead": -5}, "lookahead must be 0 or more, not -5"),
        ({"lookahead": 5, "ema_decay": None}, "lookahead must be 0 where ema_decay is None, not 5"),
        ({"padding_mode": "edge"}, "padding_mode must be 'reflect' or 'constant', not 'edge'"),
        ({"flip": False, "alternating_flip": True}, "alternating_flip must be False where flip is False"),
        ({"flip": "random"}, "flip must be bool, not 'random'"),
        ({"rotation": -1}, "rotation must be 0 or more, not -1"),
        ({"zoom": 1.0}, r"zoom must be in \[0, 1\), not 1.0"),
        ({"contrast": 1.2}, r"contrast must be in \[0, 1\], not 1.2"),
        ({"mixup": -0.2}, "mixup must be 0 or more, not -0.2"),
        ({"mixup": 0.2, "cutmix": 1.0}, "cutmix must be 0 where mixup is not, not 1.0"),
        ({"cutuot": 8}, "no field 'cutuot'; did you mean 'cutout'"),
    ],
)
def test_wrong_values_are_refused(change, message):
    with pytest.raises(CifarZooError, match=message):
        Recipe().with_(**change)
