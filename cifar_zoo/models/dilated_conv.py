"""Residual blocks of dilated convolutions at full resolution (hybrid dilated convolution, Wang et al. 2017)."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import Stages, bn_act, conv, conv_bn_act, end_stage
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def block(x: Tensor, filters: int, name: str) -> Tensor:
    """3x3 convolutions of dilation 1, 2 and 3, which together have no gaps, and a 1x1 shortcut."""
    shortcut = conv(x, filters, 1, 1, f"{name}_shortcut")
    x = conv_bn_act(x, filters, 3, 1, f"{name}_1")
    x = conv_bn_act(x, filters, 3, 1, f"{name}_2", dilation_rate=2)
    x = conv(x, filters, 3, 1, f"{name}_3", dilation_rate=3)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return bn_act(x, name)


def trunk(x: Tensor) -> Stages:
    """Five blocks in one stage, as the size of the feature maps does not change."""
    stages: Stages = {}
    for unit, filters in enumerate((16, 32, 64, 128, 256), start=1):
        x = block(x, filters, f"stage1_unit{unit}")
    end_stage(x, stages)
    return stages


@register_model(
    paper="arXiv:1702.08502",
    params=2_017_514,
    trainable=2_014_538,
    rows=(PublishedRow(CNN_MODELS, "DilatedConv", 93.22),),
)
def dilated_conv() -> Architecture:
    """Five residual blocks of dilated convolutions with 16 to 256 channels, without downsampling."""
    return Architecture(trunk)
