"""Recipes as data."""

import json
from pathlib import Path
from typing import Literal, get_origin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert find_recipe("zoo", "pyramidnet110") == RECIPES["zoo"][""] != RECIPES["zoo"]["resnet18"]
    assert find_recipe("zoo", "resnet18") == RECIPES["zoo"]["resnet18"]
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
        ("epochs=2.5", "epochs must be a valid integer, not 2.5"),
        ("flip=yes", "flip must be a valid boolean, not 'yes'"),
        ("l2=none", "l2 must be a valid number, not None"),
        ("global_clipnorm=big", "global_clipnorm must be None or a valid number, not 'big'"),
        ("cutuot=8", "no field 'cutuot'; did you mean 'cutout'"),
        ("cutout", "a setting is written field=value, not 'cutout'"),
        ("decay_epochs=a,b", r"decay_epochs\[0\] must be a valid number, not 'a'"),
        ("decay_epochs=3,x", r"decay_epochs\[1\] must be a valid number, not 'x'"),
        ("learning_rate=nan", "learning_rate must be a finite number, not nan"),
        ("epochs=true", "epochs must be a valid integer, not True"),
        ("flip=1", "flip must be a valid boolean, not 1"),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(CifarZooError, match=message):
        Recipe().with_settings([setting])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "epochs must be greater than 0, not 0"),
        ({"epochs": 1.5}, "epochs must be a valid integer, not 1.5"),
        ({"epochs": True}, "epochs must be a valid integer, not True"),
        ({"learning_rate": -1.0}, "learning_rate must be greater than 0, not -1.0"),
        ({"schedule": "linear"}, "schedule must be 'cosine', .* or 'triangular', not 'linear'"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be less than 1, not 1.0"),
        ({"ema_decay": 1.0}, "ema_decay must be None or less than 1, not 1.0"),
        ({"global_clipnorm": "1"}, "global_clipnorm must be None or a valid number, not '1'"),
        ({"momentum": 1.0}, "momentum must be less than 1, not 1.0"),
        (
            {"decay_epochs": (3,), "decay_factors": (0.1,)},
            r"given for schedule='piecewise' and for no other, not \(3.0,\)",
        ),
        ({"schedule": "piecewise"}, r"decay_epochs must be given for schedule='piecewise' and for no other, not \(\)"),
        (
            {"schedule": "piecewise", "decay_epochs": (3, 2)},
            r"decay_epochs must be positive epochs that rise, not \(3.0, 2.0\)",
        ),
        ({"schedule": "piecewise", "decay_epochs": (3,)}, r"decay_factors must be as many as decay_epochs, not \(\)"),
        (
            {"schedule": "piecewise", "decay_epochs": (3,), "decay_factors": (-1,)},
            r"decay_factors\[0\] must be greater than or equal to 0, not -1",
        ),
        ({"decay_epochs": ("3",)}, r"decay_epochs\[0\] must be a valid number, not '3'"),
        ({"decay_epochs": 3}, "decay_epochs must be a valid tuple, not 3"),
        ({"warmup_start": 2.0}, r"warmup_start must be None or less than or equal to 1, not 2.0"),
        ({"dense_l2": 500.0}, "dense_l2 must be 0 where l2 is not, not 500.0"),
        ({"clipnorm": 0.0}, "clipnorm must be None or greater than 0, not 0.0"),
        ({"clipnorm": 2.0, "global_clipnorm": 1.0}, "clipnorm must be None where global_clipnorm is not"),
        ({"dropout": 1.0}, r"dropout must be None or less than 1, not 1.0"),
        ({"optimizer": "adam"}, "optimizer must be 'sgd' or 'muon', not 'adam'"),
        ({"sgd_lr_multiplier": 0}, "sgd_lr_multiplier must be greater than 0, not 0"),
        ({"fixed_norm": True}, "fixed_norm must be False where optimizer is not 'muon', not True"),
        ({"sam": -0.1}, "sam must be greater than or equal to 0, not -0.1"),
        ({"adaptive_sam": True}, "adaptive_sam must be False where sam is 0, not True"),
        ({"bn_bias_lr_multiplier": 0.0}, "bn_bias_lr_multiplier must be greater than or equal to 0.000001, not 0.0"),
        (
            {"bn_bias_lr_multiplier": 64.0, "l2": 0.0, "dense_l2": 500.0},
            "bn_bias_lr_multiplier must be 1 where dense_l2 is not 0, not 64.0",
        ),
        ({"whitening_bias_epochs": 0}, "whitening_bias_epochs must be None or greater than 0, not 0"),
        ({"lookahead": -5}, "lookahead must be greater than or equal to 0, not -5"),
        ({"lookahead": 5, "ema_decay": None}, "lookahead must be 0 where ema_decay is None, not 5"),
        ({"class_weight": "equal"}, "class_weight must be None or 'balanced', not 'equal'"),
        ({"patience": 0, "ema_decay": None}, "patience must be None or greater than 0, not 0"),
        ({"patience": 3}, "patience must be None where ema_decay is not, not 3"),
        ({"patience": 3, "ema_decay": None, "sparsity": 0.5}, "patience must be None where sparsity is not 0, not 3"),
        ({"padding_mode": "edge"}, "padding_mode must be 'reflect' or 'constant', not 'edge'"),
        ({"flip": False, "alternating_flip": True}, "alternating_flip must be False where flip is False"),
        ({"flip": "random"}, "flip must be a valid boolean, not 'random'"),
        ({"rotation": -1}, "rotation must be greater than or equal to 0, not -1"),
        ({"zoom": 1.0}, r"zoom must be less than 1, not 1.0"),
        ({"contrast": 1.2}, r"contrast must be less than or equal to 1, not 1.2"),
        ({"mixup": -0.2}, "mixup must be greater than or equal to 0, not -0.2"),
        ({"mixup": 0.2, "cutmix": 1.0}, "cutmix must be 0 where mixup is not, not 1.0"),
        ({"cutuot": 8}, "no field 'cutuot'; did you mean 'cutout'"),
    ],
)
def test_wrong_values_are_refused(change, message):
    with pytest.raises(CifarZooError, match=message):
        Recipe().with_(**change)


TYPES = {name: field.annotation for name, field in Recipe.model_fields.items()}
LIMITS = {name: schema for name, schema in Recipe.model_json_schema()["properties"].items()}
NUMBERS = [name for name, kind in TYPES.items() if kind in (int, float, float | None, int | None)]
# What goes only with certain values of other fields, and is tried above.
TIED = {"decay_epochs", "decay_factors", "bn_bias_lr_multiplier", "fixed_norm", "dense_l2", "clipnorm", "adaptive_sam",
        "alternating_flip", "cutmix", "schedule", "class_weight", "patience"}  # fmt: skip


def valid(name):
    """Any value that a field may have, by the JSON schema."""
    schema = LIMITS[name]
    if get_origin(TYPES[name]) is Literal:
        return st.sampled_from([choice for choice in schema["enum"] if choice != "piecewise"])
    if TYPES[name] is bool:
        return st.booleans()
    schema = schema.get("anyOf", [schema])[0]
    low, high = (schema.get(key, schema.get(f"exclusive{key.capitalize()}")) for key in ("minimum", "maximum"))
    if TYPES[name] is int:
        return st.integers(low + ("exclusiveMinimum" in schema), high)
    exclusive = {"exclude_min": "exclusiveMinimum" in schema, "exclude_max": "exclusiveMaximum" in schema}
    number = st.floats(low, high, **exclusive)
    return number if TYPES[name] is float else st.none() | number


@given(st.fixed_dictionaries({}, optional={name: valid(name) for name in TYPES.keys() - TIED}))
def test_any_recipe_goes_to_json_and_back(fields):
    if fields.get("ema_decay", 0) is None:
        fields["lookahead"] = 0
    recipe = Recipe(**fields)
    again = Recipe(**json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe and again.to_dict() == recipe.to_dict()
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    texts = {name: ",".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in recipe.to_dict().items()}
    assert Recipe().with_settings(f"{name}={text}" for name, text in texts.items()) == recipe


@given(
    st.sampled_from(list(TYPES)),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e30, -1e30, 10**400, 10**5000, "1", [[1]], {}, 1j])
    | st.binary()
    | st.dates(),
)
def test_any_value_that_makes_no_sense_is_refused_with_the_name_of_its_field(name, value):
    for bad in (value, np.float64(value)) if isinstance(value, float) else (value,):
        with pytest.raises(CifarZooError, match=rf"^recipe: {name}(\[0\])? must be .*, not ") as caught:
            Recipe(**{name: bad})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    with pytest.raises(CifarZooError, match=f"{name}"):
        Recipe().with_settings([f"{name}=1e30"])


@pytest.mark.parametrize("name", NUMBERS)
def test_booleans_are_not_numbers(name):
    for value in (True, np.True_):
        with pytest.raises(CifarZooError, match=f"recipe: {name} must be .*, not True"):
            Recipe(**{name: value})


def test_numpy_numbers_become_plain_ones():
    recipe = Recipe(
        epochs=np.int64(3), batch_size=np.uint8(16), learning_rate=np.float32(0.5), momentum=np.float64(0.25),
        warmup_epochs=np.int32(1), schedule="piecewise", decay_epochs=[np.int64(1), np.float32(2)],
        decay_factors=(np.float64(0.5), 0), flip=np.False_,
    )  # fmt: skip
    numbers = (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum, recipe.warmup_epochs)
    assert numbers == (3, 16, 0.5, 0.25, 1.0) and recipe.decay_epochs == (1.0, 2.0) and recipe.flip is False
    assert [type(n) for n in (*numbers, *recipe.decay_epochs)] == [int, int, float, float, float, float, float]
    assert Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_json_schema_says_what_every_field_is():
    for name, schema in LIMITS.items():
        assert schema["description"].endswith(".") and "default" in schema, name
    assert all("maximum" in str(LIMITS[name]).lower() for name in NUMBERS)
    assert Recipe.model_json_schema()["additionalProperties"] is False


def test_a_recipe_cannot_be_changed():
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 3
    assert recipe.with_(epochs=3) == Recipe(epochs=3) and recipe.epochs == 60


@pytest.mark.parametrize(
    "values, message",
    [
        ({"epochs": 0}, "recipe: epochs must be greater than 0, not 0"),
        ({"epoch": 1}, "a recipe has no field 'epoch'; did you mean 'epochs'?"),
        ({"mixup": 1.0, "cutmix": 1.0}, "recipe: cutmix must be 0 where mixup is not, not 1.0"),
        ([1], "a recipe must be a JSON object or a dict of its fields, not [1]"),
    ],
)
def test_recipes_of_json_are_checked_alike(values, message):
    for read in (lambda: Recipe.model_validate(values), lambda: Recipe.model_validate_json(json.dumps(values))):
        with pytest.raises(CifarZooError) as error:
            read()
        assert str(error.value) == message
    with pytest.raises(CifarZooError, match="a recipe must be a JSON object .*, not '{'"):
        Recipe.model_validate_json("{")
    assert Recipe.model_validate_json(Recipe(cutout=3).model_dump_json()) == Recipe(cutout=3)
