"""The augmentation that a recipe asks for, as layers that draw for each picture."""

from __future__ import annotations

import keras
import numpy as np

from cifar_zoo.layers.cutout import Cutout
from cifar_zoo.layers.random_crop import RandomCrop
from cifar_zoo.layers.random_flip import RandomFlip
from cifar_zoo.models.assemble import MEAN
from cifar_zoo.training.recipe import Recipe


def augmentation(recipe: Recipe, height: int, width: int, seed: int) -> list[keras.layers.Layer]:
    """The layers that make training pictures (batch, height, width, 3) out of those of the data set, in order.

    In inference all that they do is to cut out the middle.
    """
    # Seeds of neighbouring integers give overlapping streams on PyTorch; these are far apart.
    seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(3) >> 1]
    layers: list[keras.layers.Layer] = [RandomCrop(height, width, recipe.padding, seed=seeds[0])]
    if recipe.flip:
        layers.append(RandomFlip(seed=seeds[1]))
    if recipe.cutout:
        layers.append(Cutout(recipe.cutout, fill=MEAN, seed=seeds[2]))
    return layers
