"""The learning-rate schedule and the optimizer of a recipe."""

from __future__ import annotations

import math
from typing import Any

import keras

from cifar_zoo.training.network import batch_norm_biases, hidden_dense_kernels, whitening_layers
from cifar_zoo.training.optimizers.muon import Muon
from cifar_zoo.training.optimizers.sgd import SGD
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


def learning_rate(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning-rate schedule of a recipe, with `steps` steps in an epoch."""
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
        schedule = PiecewiseByEpoch(
            recipe.decay_epochs, [peak * factor for factor in (1.0, *recipe.decay_factors)], steps
        )
    return WarmUp(schedule, min(recipe.warmup_epochs, recipe.epochs / 4) * steps, recipe.warmup_start)


def optimizer(recipe: Recipe, steps: int, precision: str, model: keras.Model) -> SGD:
    """Return the optimizer of a recipe for a network.

    Args:
        recipe: `Recipe`.
        steps: Integer. Number of steps in an epoch.
        precision: String. "float32" or "mixed_bfloat16". Muon orthogonalizes in bfloat16 for the latter.
        model: `keras.Model`. The L2 coefficients and the learning-rate multipliers depend on its layers.
    """
    schedule = learning_rate(recipe, steps)
    ema_decay: Any = recipe.ema_decay
    if recipe.lookahead:
        ema_decay = PowerRise(ema_decay, recipe.epochs * steps)
    options: dict[str, Any] = {
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov,
        "l2": _penalties(recipe, model),
        "ema_decay": ema_decay,
        "lookahead": recipe.lookahead,
        "lr_multipliers": _lr_multipliers(recipe, steps, model),
        "global_clipnorm": recipe.global_clipnorm,
        "clipnorm": recipe.clipnorm,
        "keep_zeros": recipe.sparsity > 0,
    }
    if recipe.optimizer == "sgd":
        return SGD(schedule, **options)
    matrix_dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    return Muon(
        schedule,
        sgd_lr_multiplier=recipe.sgd_lr_multiplier,
        fixed_norm=recipe.fixed_norm,
        matrix_dtype=matrix_dtype,
        **options,
    )


def _penalties(recipe: Recipe, model: keras.Model) -> float | dict[str, float]:
    """Return the argument `l2` of the optimizer."""
    if recipe.dense_l2:
        return {kernel.path: recipe.dense_l2 / math.prod(kernel.shape) for kernel in hidden_dense_kernels(model)}
    if recipe.bn_bias_lr_multiplier == 1:
        return recipe.l2
    biases = dict.fromkeys((bias.path for bias in batch_norm_biases(model)), recipe.l2 / recipe.bn_bias_lr_multiplier)
    return {variable.path: recipe.l2 for variable in model.trainable_variables} | biases


def _lr_multipliers(recipe: Recipe, steps: int, model: keras.Model) -> dict[str, Any]:
    """Return the argument `lr_multipliers` of the optimizer."""
    multipliers: dict[str, Any] = {}
    if recipe.bn_bias_lr_multiplier != 1:
        multipliers |= {bias.path: recipe.bn_bias_lr_multiplier for bias in batch_norm_biases(model)}
    if recipe.whitening_bias_epochs is not None:
        until = PiecewiseByEpoch((recipe.whitening_bias_epochs,), (1.0, 0.0), steps)
        multipliers |= {layer.bias.path: until for layer in whitening_layers(model)}
    return multipliers
