"""Wide residual networks (Zagoruyko and Komodakis 2016): three stages of four units with two 3x3 convolutions each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models import blocks
from cifar_zoo.models.blocks import Stages, bn_act, conv, end_stage, pooled_head, preact_trunk
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, FLAX, PublishedRow, register_model

PAPER = "arXiv:1605.07146"
UNITS, WIDTHS = (4, 4, 4), (160, 320, 640)


def wide_branch(
    x: Tensor, filters: int, strides: int, name: str, dropout: float = 0.3, activation: str = "relu"
) -> Tensor:
    """A branch of two 3x3 convolutions with dropout between them."""
    x = conv(bn_act(x, f"{name}_1", activation), filters, 3, strides, f"{name}_1")
    x = layers.Dropout(dropout, name=f"{name}_dropout")(bn_act(x, f"{name}_2", activation))
    return conv(x, filters, 3, 1, f"{name}_2")


def swish_excite(x: Tensor, index: int, name: str) -> Tensor:
    """Squeeze-and-excitation with biases and swish."""
    return zoo_layers.SqueezeExcite(16, activation="silu", name=f"{name}_se")(x)


def flax_trunk(widths: tuple[int, ...] = WIDTHS, dropout: float = 0.3) -> Callable[[Tensor], Stages]:
    """The trunk of the Flax model: no batch norm after the stem, 3x3 projection shortcuts, LeCun initialization.

    Args:
        widths: Tuple of integers. Number of filters in each stage.
        dropout: Float in [0, 1). Rate of the dropout between the convolutions of a unit.
    """
    conv = partial(blocks.conv, kernel_initializer="lecun_normal")
    bn_act = partial(blocks.bn_act, epsilon=1e-5)

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = conv(x, 16, 3, 1, "stem")
        for number, filters in enumerate(widths, start=1):
            if number > 1:
                x = end_stage(x, stages)
            for unit in range(1, 5):
                name = f"stage{number}_unit{unit}"
                strides = 2 if number > 1 and unit == 1 else 1
                y = conv(bn_act(x, f"{name}_1"), filters, 3, strides, f"{name}_1")
                y = layers.Dropout(dropout, name=f"{name}_dropout")(bn_act(y, f"{name}_2"))
                y = conv(y, filters, 3, 1, f"{name}_2")
                if unit == 1:
                    x = conv(x, filters, 3, strides, f"{name}_shortcut")
                x = layers.Add(name=f"{name}_add")([x, y])
        end_stage(bn_act(x, "final"), stages)
        return stages

    return trunk


@register_model(
    paper=PAPER, params=36_507_306, trainable=36_489_322, rows=(PublishedRow(CNN_MODELS, "WideResNet", 95.94),)
)
def wide_resnet28_10() -> Architecture:
    """Wide ResNet 28-10: 160 to 640 channels, dropout 0.3 between the convolutions of a unit.

    The published accuracy is reported for a dropout of 0.1. The published program has 0.3, like the paper.
    """
    return Architecture(preact_trunk(wide_branch, UNITS, WIDTHS, stem=16))


@register_model(
    paper="arXiv:1709.01507",
    params=36_859_330,
    trainable=36_841_154,
    rows=(PublishedRow(CNN_MODELS, "SE-WideResNet", 96.6), PublishedRow(CNN_MODELS, "SE-WideResNet_2", 97.05)),
)
def se_wide_resnet28_10() -> Architecture:
    """Wide ResNet 28-10 with squeeze-and-excitation on every branch, swish instead of ReLU, a stem of 64, dropout 0.2.

    The second published row is the same network after a longer training with a dropout of 0.1.
    """
    branch = partial(wide_branch, dropout=0.2, activation="silu")
    trunk = preact_trunk(branch, UNITS, WIDTHS, stem=64, stem_bias=False, activation="silu", gate=swish_excite)
    return Architecture(trunk)


@register_model(
    paper=PAPER, params=38_575_722, trainable=38_557_770, rows=(PublishedRow(FLAX, "Wide ResNet 26-10", 95.55),)
)
def wrn26_10() -> Architecture:
    """Wide ResNet 26-10: 160 to 640 channels, 3x3 shortcuts, no batch norm in the stem, dropout 0.3.

    By the layer count of the paper, this is a 28-10 network whose shortcuts are 3x3 convolutions instead of 1x1.
    """
    return Architecture(flax_trunk(), partial(pooled_head, kernel_initializer="lecun_normal"))
