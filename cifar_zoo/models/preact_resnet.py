"""Residual networks with pre-activation (He et al. 2016), with the widths for ImageNet and a stem for 32x32 images."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor
from cifar_zoo.models.blocks import bn_act, conv, preact_trunk, squeeze_excite
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

PAPER = "arXiv:1603.05027"
RESNET50 = (3, 4, 6, 3)


def basic(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """A branch of two 3x3 convolutions."""
    x = conv(bn_act(x, f"{name}_1"), filters, 3, strides, f"{name}_1")
    return conv(bn_act(x, f"{name}_2"), filters, 3, 1, f"{name}_2")


def bottleneck(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """A branch of 1x1, 3x3 and 1x1 convolutions. The first has the stride, the last has four times the filters."""
    x = conv(bn_act(x, f"{name}_1"), filters, 1, strides, f"{name}_1")
    x = conv(bn_act(x, f"{name}_2"), filters, 3, 1, f"{name}_2")
    return conv(bn_act(x, f"{name}_3"), 4 * filters, 1, 1, f"{name}_3")


def cbam(x: Tensor, index: int, name: str) -> Tensor:
    """Channel attention, then spatial attention."""
    return zoo_layers.CBAM(16, name=f"{name}_cbam")(x)


def drop_branch(x: Tensor, index: int, name: str) -> Tensor:
    """Drop the branch for some images: for none in the first unit, and for nearly half of them in the last."""
    keep_probability = zoo_layers.linear_decay(index, sum(RESNET50))
    return zoo_layers.StochasticDepth(keep_probability, name=f"{name}_drop")(x)


@register_model(
    paper=PAPER, params=11_185_034, trainable=11_177_098, rows=(PublishedRow(CNN_MODELS, "ResNet18", 95.11),)
)
def resnet18() -> Architecture:
    """ResNet-18 with pre-activation: 2-2-2-2 basic blocks of 64 to 512 channels, no max-pool in the stem."""
    return Architecture(preact_trunk(basic, (2, 2, 2, 2)))


@register_model(
    paper=PAPER, params=23_585_418, trainable=23_539_850, rows=(PublishedRow(CNN_MODELS, "ResNet50", 94.55),)
)
def resnet50() -> Architecture:
    """ResNet-50 with pre-activation: 3-4-6-3 bottlenecks of 256 to 2048 channels, no max-pool in the stem."""
    return Architecture(preact_trunk(bottleneck, RESNET50))


@register_model(
    paper="arXiv:1603.09382",
    params=23_585_418,
    trainable=23_539_850,
    rows=(PublishedRow(CNN_MODELS, "StochasticDepth", 95.07),),
)
def stochastic_depth() -> Architecture:
    """resnet50 with stochastic depth: unit i of 0..15 keeps its branch with probability 1 - i/32.

    Each image has an independent random draw in every step. The paper draws once per batch, and the original program
    drew only once, when the network was traced.
    """
    return Architecture(preact_trunk(bottleneck, RESNET50, gate=drop_branch))


@register_model(
    paper="arXiv:1709.01507",
    params=26_100_362,
    trainable=26_054_794,
    rows=(PublishedRow(CNN_MODELS, "SE-ResNet50", 95.37),),
)
def se_resnet50() -> Architecture:
    """resnet50 with squeeze-and-excitation on the branch of every unit."""
    return Architecture(preact_trunk(bottleneck, RESNET50, gate=squeeze_excite))


@register_model(
    paper="arXiv:1807.06521",
    params=26_117_994,
    trainable=26_072_426,
    rows=(PublishedRow(CNN_MODELS, "CBAM-ResNet50", 95.01),),
)
def cbam_resnet50() -> Architecture:
    """resnet50 with channel and spatial attention (CBAM) on the branch of every unit."""
    return Architecture(preact_trunk(bottleneck, RESNET50, gate=cbam))
