"""Inception-ResNet-v2 (Szegedy et al. 2016) of a quarter of the paper's width, with a stem for 32x32 images."""

from __future__ import annotations

from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import Stages, bn_act, conv, conv_bn_act, end_stage, inception_block, pooled_head
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

A = (
    ((1, 8),),
    ((1, 8), (3, 8)),
    ((1, 8), (3, 12), (3, 16)),
)
REDUCTION_A = (
    ((3, 96, 2),),
    ((1, 64), (3, 64), (3, 96, 2)),
    ("max/2",),
)
B = (
    ((1, 48),),
    ((1, 32), ((1, 7), 40), ((7, 1), 48)),
)
REDUCTION_B = (
    ((1, 64), (3, 96, 2)),
    ((1, 64), (3, 72, 2)),
    ((1, 64), (3, 72), (3, 80, 2)),
    ("max/2",),
)
C = (
    ((1, 48),),
    ((1, 48), ((1, 3), 56), ((3, 1), 64)),
)


def residual(x: Tensor, block: tuple, name: str) -> Tensor:
    """A residual block: its branches, projected by a 1x1 convolution, are added to the input; batch norm and ReLU."""
    y = conv(inception_block(x, block, name), x.shape[-1], 1, 1, f"{name}_project", padding="valid")
    return bn_act(layers.Add(name=f"{name}_add")([x, y]), name)


def trunk(x: Tensor) -> Stages:
    """A 3x3 stem and three stages of residual blocks, with reductions between them."""
    stages: Stages = {}
    x = conv_bn_act(x, 96, 3, 1, "stem")
    table = ((None, A, 5), (REDUCTION_A, B, 10), (REDUCTION_B, C, 5))
    for number, (reduction, block, units) in enumerate(table, start=1):
        if reduction:
            x = inception_block(x, reduction, f"stage{number}_reduction")
        for unit in range(1, units + 1):
            x = residual(x, block, f"stage{number}_unit{unit}")
        x = end_stage(x, stages)
    return stages


@register_model(
    paper="arXiv:1602.07261",
    params=1_909_846,
    trainable=1_889_790,
    rows=(PublishedRow(CNN_MODELS, "Inception-ResNet-V2", 93.97),),
)
def inception_resnet_v2() -> Architecture:
    """Inception-ResNet-v2 of a quarter of the paper's width: 5 blocks A, 10 B, 5 C after a 3x3 stem at full resolution.

    Unlike in the paper, batch norm follows every addition, and the branches are not scaled down by a constant.
    """
    return Architecture(trunk, partial(pooled_head, dropout=0.2))
