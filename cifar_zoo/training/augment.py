"""The augmentation layers and the mixing layer of a recipe."""

from __future__ import annotations

import keras
import numpy as np

from cifar_zoo import layers
from cifar_zoo.data.cifar10 import MEAN
from cifar_zoo.training.recipe import Recipe


def augmentation(recipe: Recipe, height: int, width: int, steps: int, seed: int) -> list[keras.layers.Layer]:
    """Return the augmentation layers of a recipe, in the order of their application.

    Outside of training, they only crop the center of the images.

    Args:
        recipe: `Recipe`.
        height: Integer. Height of the network's input.
        width: Integer. Width of the network's input.
        steps: Integer. Number of steps in an epoch.
        seed: Integer. Seed of all random draws.

    Returns: A list of layers.
    """
    flip, alternating = recipe.flip, recipe.alternating_flip
    moved = recipe.rotation or recipe.shift or recipe.shear or recipe.zoom
    table = [
        # The alternating flip recognizes an image by its pixels, so it comes before anything that changes them.
        (alternating, lambda seed: layers.AlternatingFlip(steps, seed)),
        (True, lambda seed: layers.RandomCrop(height, width, recipe.padding, recipe.padding_mode, MEAN, seed)),
        (flip and not alternating, lambda seed: layers.RandomFlip(seed)),
        (moved, lambda seed: layers.RandomAffine(recipe.rotation, recipe.shift, recipe.shear, recipe.zoom, seed=seed)),
        (recipe.trivial_augment, lambda seed: layers.TrivialAugmentWide(MEAN, seed)),
        (recipe.brightness, lambda seed: layers.RandomBrightness(recipe.brightness, seed=seed)),
        (recipe.contrast, lambda seed: layers.RandomContrast(1 - recipe.contrast, 1 + recipe.contrast, seed=seed)),
        (recipe.cutout, lambda seed: layers.Cutout(recipe.cutout, MEAN, seed)),
    ]
    return [make(own) for (used, make), own in zip(table, _seeds(seed, 0, len(table)), strict=True) if used]


def mixing(recipe: Recipe, seed: int) -> keras.layers.Layer | None:
    """Return the layer that mixes the images of a batch, or None if the recipe has none."""
    (own,) = _seeds(seed, 1, 1)
    if recipe.mixup:
        return layers.Mixup(recipe.mixup, seed=own)
    return layers.CutMix(recipe.cutmix, seed=own) if recipe.cutmix else None


def _seeds(seed: int, purpose: int, count: int) -> list[int]:
    """Return independent seeds. Consecutive integers would give overlapping random streams on PyTorch."""
    return [int(word) for word in np.random.SeedSequence((seed, purpose)).generate_state(count) >> 1]
