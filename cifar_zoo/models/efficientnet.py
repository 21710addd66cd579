"""EfficientNet (Tan and Le 2019): mobile inverted bottlenecks with squeeze-and-excitation."""

from __future__ import annotations

from functools import partial

from cifar_zoo.lazy import Tensor, keras, layers
from cifar_zoo.models.blocks import (
    Size,
    Stages,
    bn_act,
    conv_bn,
    conv_bn_act,
    depthwise_conv,
    end_stage,
    pooled_head,
)
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

STAGES = (  # width, kernel, expansion, blocks, stride
    (16, 3, 1, 1, 1),
    (24, 3, 6, 2, 1),
    (40, 5, 6, 2, 2),
    (80, 3, 6, 3, 2),
    (112, 5, 6, 3, 1),
    (192, 5, 6, 4, 2),
    (320, 3, 6, 1, 1),
)
COUNT = sum(blocks for _, _, _, blocks, _ in STAGES)


def fan_out() -> keras.initializers.Initializer:
    """The paper's initializer: normal, of variance 2 / fan-out."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def conv_bn_swish(x: Tensor, filters: int, kernel_size: Size, name: str) -> Tensor:
    """Convolution without bias, batch norm and swish."""
    return conv_bn_act(x, filters, kernel_size, 1, name, "swish", use_bias=False, kernel_initializer=fan_out())


def mbconv(
    x: Tensor, width: int, kernel_size: Size, expansion: int, strides: int, keep_probability: float, name: str
) -> Tensor:
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, and a 1x1 projection without an activation."""
    channels = x.shape[-1]
    y = x
    if expansion > 1:
        y = conv_bn_swish(y, expansion * channels, 1, f"{name}_expand")
    y = depthwise_conv(y, kernel_size, strides, f"{name}_depthwise", initializer=fan_out())
    y = bn_act(y, f"{name}_depthwise", "swish")
    y = zoo_layers.SqueezeExcite(units=channels // 4, activation="swish", name=f"{name}_se")(y)
    y = conv_bn(y, width, 1, 1, f"{name}_project", use_bias=False, kernel_initializer=fan_out())
    if strides > 1 or channels != width:
        return y
    y = zoo_layers.StochasticDepth(keep_probability, name=f"{name}_drop")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def trunk(x: Tensor) -> Stages:
    """The blocks. A stage ends before each block of stride 2."""
    stages: Stages = {}
    x = conv_bn_swish(x, 32, 3, "stem")
    block = 0
    for width, kernel_size, expansion, blocks, strides in STAGES:
        if strides > 1:
            x = end_stage(x, stages)
        for repeat in range(blocks):
            keep_probability = zoo_layers.linear_decay(block, COUNT, last=0.8)
            block += 1
            x = mbconv(x, width, kernel_size, expansion, 1 if repeat else strides, keep_probability, f"block{block}")
    end_stage(conv_bn_swish(x, 1280, 1, "final"), stages)
    return stages


@register_model(
    paper="arXiv:1905.11946",
    params=4_062_374,
    trainable=4_020_358,
    rows=(PublishedRow(CNN_MODELS, "EfficientNetB0"),),
)
def efficientnet_b0() -> Architecture:
    """EfficientNet-B0 with the blocks of the paper and strides for 32x32.

    The published 3.45 M parameters match no plausible network. This one has 4.06 M, 18 % more. The original program
    multiplied the number of output channels of a block by the expansion factor, instead of the number of input
    channels, which makes 9,680,954.
    The stem has stride 1 and the stages have strides (1, 1, 2, 2, 1, 2, 1), so the feature maps are 32, 16, 8 and 4
    pixels wide. With the paper's strides and a stem of stride 1, the last maps would be 2x2. The original program used
    no strides at all.
    Blocks with a shortcut drop their branch with probability 0.2 i / 16, i = 0..15, scaled at inference.
    """
    return Architecture(trunk, partial(pooled_head, dropout=0.2))
