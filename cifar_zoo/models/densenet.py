"""DenseNet-BC (Huang et al. 2017): each layer appends its feature maps to those of all previous layers."""

from __future__ import annotations

from collections.abc import Callable

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import Stages, average_pool, bn_act, conv, conv_bn_act, end_stage
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

PAPER = "arXiv:1608.06993"


def dense_layer(x: Tensor, growth: int, name: str) -> Tensor:
    """A bottleneck of 4 x growth channels and a 3x3 convolution, whose output is concatenated to the input."""
    y = conv(bn_act(x, f"{name}_1"), 4 * growth, 1, 1, f"{name}_1")
    y = conv(bn_act(y, f"{name}_2"), growth, 3, 1, f"{name}_2")
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def transition(x: Tensor, filters: int, name: str) -> Tensor:
    """A 1x1 convolution that reduces the channels, then 2x2 average pooling."""
    x = conv(bn_act(x, name), filters, 1, 1, name)
    return average_pool(x, 2, 2, f"{name}_pool")


def densenet_trunk(units: tuple[int, ...], growth: int) -> Callable[[Tensor], Stages]:
    """Dense blocks with transitions between them.

    The paper's transitions halve the number of channels. Those of the networks reproduced here halve `grown`, the
    number of channels without earlier transitions. From the second transition on, they therefore keep more than half.

    Args:
        units: Tuple of integers. Number of layers in each dense block.
        growth: Integer. Number of channels that each layer adds.
    """

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        grown = 2 * growth
        x = conv_bn_act(x, grown, 3, 1, "stem")
        for number, count in enumerate(units, start=1):
            if number > 1:
                x = transition(end_stage(x, stages), grown // 2, f"transition{number - 1}")
            for unit in range(1, count + 1):
                x = dense_layer(x, growth, f"stage{number}_unit{unit}")
            grown += count * growth
        end_stage(bn_act(x, "final"), stages)
        return stages

    return trunk


@register_model(
    paper=PAPER, params=3_314_218, trainable=3_262_474, rows=(PublishedRow(CNN_MODELS, "DenseNet100", 95.57),)
)
def densenet100() -> Architecture:
    """DenseNet-BC of three blocks of 16 layers, growth rate 24.

    The transitions keep 216 of 432 and 408 of 600 channels, as in the program behind the published count. With the
    paper's compression to a half (216 and 300) there would be 3,074,998 parameters.
    """
    return Architecture(densenet_trunk((16, 16, 16), 24))


@register_model(
    paper=PAPER, params=7_936_202, trainable=7_842_826, rows=(PublishedRow(CNN_MODELS, "DenseNet121", 94.91),)
)
def densenet121() -> Architecture:
    """DenseNet-121: blocks of 6, 12, 24 and 16 layers, growth rate 32, stem for 32x32.

    The transitions keep 128 of 256, 320 of 512 and 704 of 1088 channels, as in the program behind the published
    count. With the paper's compression to a half (128, 256 and 512) there would be 7,050,314 parameters.
    """
    return Architecture(densenet_trunk((6, 12, 24, 16), 32))
