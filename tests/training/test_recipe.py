"""Recipes as data."""

import json

import pytest

from cifar_zoo import CifarZooError, Recipe
from cifar_zoo.training.recipe import RECIPES, find_recipe


def test_json_and_back():
    for table in RECIPES.values():
        for recipe in table.values():
            assert Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_own_recipe_comes_before_the_family_and_the_common_one():
    assert find_recipe("zoo", "resnet20", "resnet_cifar") == RECIPES["zoo"][""]
    assert find_recipe("zoo", "squeeze1", "sandbox") == RECIPES["zoo"]["sandbox"]
    with pytest.raises(CifarZooError, match="no recipe 'seeds'; there are zoo"):
        find_recipe("seeds")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "epochs must be positive, not 0"),
        ({"epochs": 1.5}, "epochs must be int, not 1.5"),
        ({"epochs": True}, "epochs must be int, not True"),
        ({"learning_rate": -1.0}, "learning_rate must be positive, not -1.0"),
        ({"schedule": "linear"}, "schedule must be 'cosine' or 'tanh', not 'linear'"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), not 1.0"),
        ({"average_decay": 1.0}, "average_decay must be None or in"),
        ({"clip_norm": "1"}, "clip_norm must be float or int or None, not '1'"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"cutuot": 8}, "no field 'cutuot'; did you mean 'cutout'"),
    ],
)
def test_wrong_values_are_refused(change, message):
    with pytest.raises(CifarZooError, match=message):
        Recipe().with_(**change)
