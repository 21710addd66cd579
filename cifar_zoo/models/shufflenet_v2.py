"""ShuffleNet V2 (Ma et al. 2018): units that transform half of the channels and then shuffle all of them."""

from __future__ import annotations

from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models import blocks
from cifar_zoo.models.blocks import Stages, act, batch_norm, conv, depthwise_conv, end_stage
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

conv_bn_act = partial(blocks.conv_bn_act, use_bias=False)


def depthwise_bn(x: Tensor, strides: int, name: str) -> Tensor:
    """A 3x3 depthwise convolution and batch norm."""
    return batch_norm(depthwise_conv(x, 3, strides, name), name)


def unit(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """Two branches of half of the channels, one of them the identity; at stride 2, both transform all channels."""
    half = filters // 2
    if strides == 1:
        x, other = zoo_layers.SplitChannels(2, name=f"{name}_split")(x)
    else:
        other = depthwise_bn(x, 2, f"{name}_other_depthwise")
        other = conv_bn_act(other, half, 1, 1, f"{name}_other_1")
    x = conv_bn_act(x, half, 1, 1, f"{name}_1")
    x = depthwise_bn(x, strides, f"{name}_depthwise")
    x = conv_bn_act(x, half, 1, 1, f"{name}_2")
    x = layers.Concatenate(name=f"{name}_concat")([x, other])
    return zoo_layers.ChannelShuffle(2, name=f"{name}_shuffle")(x)


def trunk(x: Tensor) -> Stages:
    """A 3x3 stem, three stages of units, and a 1x1 convolution."""
    stages: Stages = {}
    x = conv_bn_act(x, 24, 3, 1, "stem")
    for number, (filters, count) in enumerate(((116, 4), (232, 8), (464, 4)), start=2):
        x = end_stage(x, stages)
        for index in range(1, count + 1):
            x = unit(x, filters, 2 if index == 1 else 1, f"stage{number}_unit{index}")
    end_stage(act(conv(x, 1024, 1, 1, "final", use_bias=False), "final"), stages)
    return stages


@register_model(
    paper="arXiv:1807.11164",
    params=1_275_938,
    trainable=1_261_806,
    rows=(PublishedRow(CNN_MODELS, "ShuffleNetV2", 92.41),),
)
def shufflenet_v2() -> Architecture:
    """ShuffleNet V2 1x, stem for 32x32.

    The original program shuffled channels across the images of a batch in its units of stride 2. Here they are shuffled
    within each image.
    As in the paper, no ReLU follows a depthwise convolution. The original program had one in its units of stride 2.
    As in the paper, the last 1x1 convolution has a ReLU, without which it and the classifier would be a single linear
    map. Unlike in the paper, it has no batch norm, which would add 4,096 parameters.
    """
    return Architecture(trunk)
