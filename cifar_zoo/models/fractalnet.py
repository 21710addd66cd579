"""FractalNet (Larsson et al. 2017): columns of different depth that meet in means, without shortcuts."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import bn_act, conv
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model

WIDTHS = (64, 128, 256, 512, 512)


def unit(x, filters: int, name: str):
    """A 3x3 convolution, batch norm and ReLU."""
    return bn_act(conv(x, filters, 3, 1, name), name)


def join(paths, column, name: str):
    """The mean of the paths, the deepest column first; in training, of those that drop-path leaves."""
    return zoo_layers.FractalJoin(0.15, name=name)(paths, column=column)


def block(x, filters: int, column, name: str):
    """Three columns of four, two and one units, of which the first two also meet halfway."""
    half = unit(unit(x, filters, f"{name}_unit1"), filters, f"{name}_unit2")
    half = join([half, unit(x, filters, f"{name}_unit3")], column, f"{name}_join1")
    deep = unit(unit(half, filters, f"{name}_unit5"), filters, f"{name}_unit6")
    paths = [deep, unit(half, filters, f"{name}_unit4"), unit(x, filters, f"{name}_unit7")]
    return join(paths, column, f"{name}_join2")


def trunk(x):
    """All but the last pooling and the classifier."""
    column = zoo_layers.DrawColumn(3, name="draw_column")(x)  # one draw for all blocks, or no column is left whole
    for number, filters in enumerate(WIDTHS, start=1):
        if number > 1:
            x = zoo_layers.MaxPooling2D(2, name=f"stage{number}_pool")(x)
        x = stage(block(x, filters, column, f"stage{number}"), number)
    return x


def head(x, classes: int):
    """The last pooling, and one dense layer on all that is left of the map."""
    x = zoo_layers.MaxPooling2D(2, name="head_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(classes, dtype="float32", name="classifier")(x)


@register_model(
    paper="arXiv:1605.07648",
    params=33_755_530,
    trainable=33_734_922,
    rows=(PublishedRow(CNN_MODELS, "FractalNet", 94.32),),
)
def fractalnet(**options: Unpack[Options]) -> keras.Model:
    """FractalNet of five blocks and three columns, 64 to 512 channels, with drop-path.

    As in the paper, a join is the mean of all paths that meet there, and drop-path leaves half of the images a single
    column. The original program joined three paths two by two, so that the shallow one counted twice, had no drop-path,
    and did not flatten the last map. The paper's dropout between the blocks is left out here, too.
    """
    return assemble(trunk, "fractalnet", head=head, **options)
