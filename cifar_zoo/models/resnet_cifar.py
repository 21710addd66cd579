"""The residual networks for CIFAR-10 of He et al. 2015, section 4.2: three stages of 16, 32 and 64 channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models import blocks
from cifar_zoo.models.blocks import Stages, act, end_stage
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import register_model

PAPER = "arXiv:1512.03385"

conv_bn = partial(blocks.conv_bn, epsilon=1e-5, use_bias=False)


def block(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """Two 3x3 convolutions and a shortcut, which is the identity, or a 1x1 projection if the shape changes."""
    shortcut = conv_bn(x, filters, 1, strides, f"{name}_shortcut") if strides > 1 else x
    x = act(conv_bn(x, filters, 3, strides, f"{name}_1"), f"{name}_1")
    x = conv_bn(x, filters, 3, 1, f"{name}_2")
    return act(layers.Add(name=f"{name}_add")([x, shortcut]), name)


def resnet_trunk(depth: int) -> Callable[[Tensor], Stages]:
    """A 3x3 stem and three stages of n blocks, for a depth of 6 n + 2."""

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = act(conv_bn(x, 16, 3, 1, "stem"), "stem")
        for number, filters in enumerate((16, 32, 64), start=1):
            for unit in range(1, (depth - 2) // 6 + 1):
                x = block(x, filters, 2 if number > 1 and unit == 1 else 1, f"stage{number}_unit{unit}")
            x = end_stage(x, stages)
        return stages

    return trunk


@register_model(paper=PAPER, params=274_042, trainable=272_474)
def resnet20() -> Architecture:
    """ResNet-20: 3 x 3 basic blocks, with projection shortcuts instead of the paper's zero padding."""
    return Architecture(resnet_trunk(20))


@register_model(paper=PAPER, params=469_370, trainable=466_906)
def resnet32() -> Architecture:
    """ResNet-32: 3 x 5 basic blocks, with projection shortcuts instead of the paper's zero padding."""
    return Architecture(resnet_trunk(32))


@register_model(paper=PAPER, params=664_698, trainable=661_338)
def resnet44() -> Architecture:
    """ResNet-44: 3 x 7 basic blocks, with projection shortcuts instead of the paper's zero padding."""
    return Architecture(resnet_trunk(44))


@register_model(paper=PAPER, params=860_026, trainable=855_770)
def resnet56() -> Architecture:
    """ResNet-56: 3 x 9 basic blocks, with projection shortcuts instead of the paper's zero padding."""
    return Architecture(resnet_trunk(56))


@register_model(paper=PAPER, params=1_739_002, trainable=1_730_714)
def resnet110() -> Architecture:
    """ResNet-110: 3 x 18 basic blocks, with projection shortcuts instead of the paper's zero padding."""
    return Architecture(resnet_trunk(110))
