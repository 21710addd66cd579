"""The learning rate and the optimiser that a recipe asks for."""

from __future__ import annotations

import math
from typing import Any

import keras

from cifar_zoo.training.muon import Muon
from cifar_zoo.training.network import batch_norm_biases, hidden_dense_kernels, whitening_layers
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.schedules import (
    CosineDecay,
    PiecewiseByEpoch,
    PowerRise,
    Staircase,
    TanhDecay,
    Triangular,
    WarmUp,
)
from cifar_zoo.training.sgd import SGD


def learning_rate(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of a recipe for so many steps an epoch."""
    if recipe.staircase:
        return Staircase(_schedule(recipe, 1), steps)
    return _schedule(recipe, steps)


def _schedule(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    peak, total = recipe.learning_rate, recipe.epochs * steps
    if recipe.schedule == "triangular":
        return Triangular(peak, total)
    if recipe.schedule == "tanh":
        schedule = TanhDecay(peak, total)
    elif recipe.schedule == "cosine":
        schedule = CosineDecay(peak, total)
    else:  # "piecewise", or "constant", which has one piece
        schedule = PiecewiseByEpoch(recipe.rate_epochs, [peak * part for part in (1.0, *recipe.rate_factors)], steps)
    return WarmUp(schedule, min(recipe.warmup_epochs, recipe.epochs / 4) * steps, recipe.warmup_start)


def optimizer(recipe: Recipe, steps: int, precision: str, model: keras.Model) -> SGD:
    """The optimiser of a recipe for a network, with so many steps an epoch."""
    rate, total = learning_rate(recipe, steps), recipe.epochs * steps
    options = {
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov,
        "l2": _penalties(recipe, model),
        "average_decay": PowerRise(recipe.average_decay, total) if recipe.lookahead else recipe.average_decay,
        "lookahead": recipe.lookahead,
        "rate_factors": _rate_factors(recipe, steps, model),
        "global_clipnorm": recipe.clip_norm,
        "clipnorm": recipe.clip_variable_norm,
    }
    if recipe.optimizer == "sgd":
        return SGD(rate, **options)
    matrix_dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    return Muon(rate, sgd_ratio=recipe.sgd_ratio, fixed_norm=recipe.fixed_norm, matrix_dtype=matrix_dtype, **options)


def _penalties(recipe: Recipe, model: keras.Model) -> float | dict[str, float]:
    """The factors of the penalty, as `SGD` takes them."""
    if recipe.dense_l2:
        return {kernel.path: recipe.dense_l2 / math.prod(kernel.shape) for kernel in hidden_dense_kernels(model)}
    if recipe.bias_ratio == 1:
        return recipe.l2
    biases = dict.fromkeys((bias.path for bias in batch_norm_biases(model)), recipe.l2 / recipe.bias_ratio)
    return {variable.path: recipe.l2 for variable in model.trainable_variables} | biases


def _rate_factors(recipe: Recipe, steps: int, model: keras.Model) -> dict[str, Any]:
    """Of the parameters that do not learn at the recipe's rate, what theirs is multiplied by."""
    factors: dict[str, Any] = {}
    if recipe.bias_ratio != 1:
        factors |= {bias.path: recipe.bias_ratio for bias in batch_norm_biases(model)}
    if recipe.whitening_epochs is not None:
        until = PiecewiseByEpoch((recipe.whitening_epochs,), (1.0, 0.0), steps)
        factors |= {layer.bias.path: until for layer in whitening_layers(model)}
    return factors
