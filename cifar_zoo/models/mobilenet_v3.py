"""MobileNetV3 (Howard et al. 2019), shortened for 32x32 images."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import (
    CHANNELS_LAST,
    Size,
    Stages,
    bn_act,
    classifier,
    conv_bn,
    conv_bn_act,
    depthwise_conv,
    end_stage,
)
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

BLOCKS = (  # kernel, expansion, width, squeeze-and-excitation, activation, stride
    (5, 120, 40, True, "relu6", 1),
    (5, 120, 40, True, "relu6", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
)


def bottleneck(
    x: Tensor, kernel_size: Size, expand: int, width: int, excite: bool, activation: str, strides: int, name: str
) -> Tensor:
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, and a 1x1 projection without an activation."""
    y = conv_bn_act(x, expand, 1, 1, f"{name}_expand", activation, use_bias=False)
    y = bn_act(depthwise_conv(y, kernel_size, strides, f"{name}_depthwise"), f"{name}_depthwise", activation)
    if excite:
        y = zoo_layers.SqueezeExcite(
            units=expand // 4,
            activation="relu6",
            gate_activation="hard_sigmoid",
            use_bias=False,
            name=f"{name}_se",
        )(y)
    y = conv_bn(y, width, 1, 1, f"{name}_project", use_bias=False)
    return layers.Add(name=f"{name}_add")([x, y]) if x.shape[-1] == width and strides == 1 else y


def trunk(x: Tensor) -> Stages:
    """The blocks. A stage ends before each block of stride 2."""
    stages: Stages = {}
    x = conv_bn_act(x, 40, 3, 1, "stem", "relu6", use_bias=False)
    for index, (kernel_size, expand, width, excite, activation, strides) in enumerate(BLOCKS, start=1):
        if strides > 1:
            x = end_stage(x, stages)
        x = bottleneck(x, kernel_size, expand, width, excite, activation, strides, f"block{index}")
    end_stage(conv_bn_act(x, 960, 1, 1, "final", "hard_swish", use_bias=False), stages)
    return stages


def head(x: Tensor, classes: int) -> Tensor:
    """Global average pooling, a hidden layer, and a dense layer."""
    x = layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="head_pool")(x)
    x = layers.Dense(1280, activation="hard_swish", kernel_initializer="he_normal", name="head_dense")(x)
    return classifier(x, classes)


@register_model(
    paper="arXiv:1905.02244",
    params=4_214_298,
    trainable=4_190_922,
    rows=(PublishedRow(CNN_MODELS, "MobileNetV3", 94.85),),
)
def mobilenet_v3() -> Architecture:
    """MobileNetV3-Large without its stages of 16 and 24 channels, for 32x32.

    As in the paper, the activations of a block follow the expansion and the depthwise convolution, and the projection
    is linear. In the original program, they follow the expansion and the projection.
    The activation of the stem is ReLU6. In the paper, it is hard swish.
    """
    return Architecture(trunk, head)
