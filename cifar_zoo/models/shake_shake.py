"""Shake-Shake regularization (Gastaldi 2017): two parallel branches with random coefficients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models import blocks
from cifar_zoo.models.blocks import Stages, act, conv, end_stage, pooled_head
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import FLAX, PublishedRow, register_model

conv_bn = partial(blocks.conv_bn, epsilon=1e-5, kernel_initializer="lecun_normal")


def branch(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """Two 3x3 convolutions, each between a ReLU and batch norm."""
    x = conv_bn(act(x, f"{name}_1"), filters, 3, strides, f"{name}_1")
    return conv_bn(act(x, f"{name}_2"), filters, 3, 1, f"{name}_2")


def shake_shake_trunk(widths: tuple[int, ...]) -> Callable[[Tensor], Stages]:
    """A 3x3 stem and stages of four units.

    Args:
        widths: Tuple of integers. Number of filters in each stage.
    """

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = conv(x, 16, 3, 1, "stem", kernel_initializer="lecun_normal")
        for number, filters in enumerate(widths, start=1):
            if number > 1:
                x = end_stage(x, stages)
            for unit in range(1, 5):
                name = f"stage{number}_unit{unit}"
                strides = 2 if number > 1 and unit == 1 else 1
                pair = [branch(x, filters, strides, f"{name}_{side}") for side in ("left", "right")]
                mixed = zoo_layers.ShakeShake(name=f"{name}_shake")(pair)
                if unit == 1:
                    x = conv_bn(x, filters, 3, strides, f"{name}_shortcut")
                x = layers.Add(name=f"{name}_add")([x, mixed])
        end_stage(act(x, "final"), stages)
        return stages

    return trunk


@register_model(
    paper="arXiv:1705.07485",
    params=26_976_746,
    trainable=26_953_898,
    rows=(PublishedRow(FLAX, "Wide ResNet 26-6 Shake-Shake", 96.57),),
)
def wrn26_6_shake_shake() -> Architecture:
    """Shake-Shake 26 2x96d: three stages of four units with two branches of 96, 192 and 384 channels.

    If the shape changes, the shortcut is a 3x3 convolution. The paper has two shifted paths of 1x1 convolutions.
    """
    return Architecture(shake_shake_trunk((96, 192, 384)), partial(pooled_head, kernel_initializer="lecun_normal"))
