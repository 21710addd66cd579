"""FractalNet (Larsson et al. 2017): columns of different depths, joined by their mean, without shortcuts."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor
from cifar_zoo.models.blocks import Stages, classifier, conv_bn_act, end_stage, flatten, max_pool
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

WIDTHS = (64, 128, 256, 512, 512)


def join(paths: list[Tensor], column: Tensor, name: str) -> Tensor:
    """The mean of the paths, in training of those that drop-path keeps. The deepest column comes first."""
    return zoo_layers.FractalJoin(0.15, name=name)(paths, column=column)


def block(x: Tensor, filters: int, column: Tensor, name: str) -> Tensor:
    """Three columns of four, two and one units. The first two are also joined halfway."""

    def unit(x: Tensor, number: int) -> Tensor:
        return conv_bn_act(x, filters, 3, 1, f"{name}_unit{number}")

    half = join([unit(unit(x, 1), 2), unit(x, 3)], column, f"{name}_join1")
    return join([unit(unit(half, 5), 6), unit(half, 4), unit(x, 7)], column, f"{name}_join2")


def trunk(x: Tensor) -> Stages:
    """Five blocks with max-pooling between them."""
    stages: Stages = {}
    column = zoo_layers.DrawColumn(3, name="draw_column")(
        x
    )  # one random draw for all blocks, so that a single column is kept throughout
    for number, filters in enumerate(WIDTHS, start=1):
        if number > 1:
            x = max_pool(x, 2, 2, f"stage{number}_pool")
        x = end_stage(block(x, filters, column, f"stage{number}"), stages)
    return stages


def head(x: Tensor, classes: int) -> Tensor:
    """The last pooling and a dense layer on the flattened feature map."""
    return classifier(flatten(max_pool(x, 2, 2, "head_pool")), classes)


@register_model(
    paper="arXiv:1605.07648",
    params=33_755_530,
    trainable=33_734_922,
    rows=(PublishedRow(CNN_MODELS, "FractalNet", 94.32),),
)
def fractalnet() -> Architecture:
    """FractalNet of five blocks and three columns, 64 to 512 channels, with drop-path.

    As in the paper, a join is the mean of all its paths, and drop-path keeps a single column for half of the images.
    The original program joined three paths pairwise, so that the shallow one counted twice. It had no drop-path, and
    did not flatten the last feature map. Like the original program, this network omits the paper's dropout between the
    blocks.
    """
    return Architecture(trunk, head)
