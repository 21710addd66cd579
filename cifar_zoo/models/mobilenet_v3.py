"""MobileNetV3 (Howard et al. 2019), cut for 32x32 images."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import bn_act, conv
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model

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


def batch_norm(x, name: str):
    """Batch norm without an activation."""
    return zoo_layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)


def depthwise_bn(x, size: int, stride: int, name: str):
    """A depthwise convolution without bias, and batch norm."""
    x = layers.DepthwiseConv2D(
        size,
        stride,
        padding="same",
        use_bias=False,
        # He's initialization: a filter reads one channel, which is what Keras calls the fan-out of these kernels.
        depthwise_initializer=keras.initializers.VarianceScaling(2.0, "fan_out"),
        name=f"{name}_conv",
    )(x)
    return batch_norm(x, name)


def bottleneck(x, kernel: int, expand: int, width: int, excite: bool, activation: str, stride: int, name: str):
    """Expand, filter each channel, excite, and project without an activation."""
    y = bn_act(conv(x, expand, 1, 1, f"{name}_expand", bias=False), f"{name}_expand", activation)
    y = depthwise_bn(y, kernel, stride, f"{name}_depthwise")
    y = zoo_layers.Activation(activation, name=f"{name}_depthwise_{activation}")(y)
    if excite:
        y = zoo_layers.SqueezeExcite(
            units=expand // 4,
            activation="relu6",
            gate_activation="hard_sigmoid",
            use_bias=False,
            name=f"{name}_se",
        )(y)
    y = batch_norm(conv(y, width, 1, 1, f"{name}_project", bias=False), f"{name}_project")
    return layers.Add(name=f"{name}_add")([x, y]) if x.shape[-1] == width and stride == 1 else y


def trunk(x):
    """All up to global pooling."""
    x = bn_act(conv(x, 40, 3, 1, "stem", bias=False), "stem", "relu6")
    number = 1
    for index, (kernel, expand, width, excite, activation, stride) in enumerate(BLOCKS, start=1):
        if stride > 1:
            x = stage(x, number)
            number += 1
        x = bottleneck(x, kernel, expand, width, excite, activation, stride, f"block{index}")
    return stage(bn_act(conv(x, 960, 1, 1, "final", bias=False), "final", "hard_swish"), number)


def head(x, classes: int):
    """Global average pooling, a hidden layer, and the classifier."""
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dense(1280, activation="hard_swish", kernel_initializer="he_normal", name="head_dense")(x)
    return layers.Dense(classes, dtype="float32", name="classifier")(x)


@register_model(
    paper="arXiv:1905.02244",
    params=4_214_298,
    trainable=4_190_922,
    rows=(PublishedRow(CNN_MODELS, "MobileNetV3", 94.85),),
)
def mobilenet_v3(**options: Unpack[Options]) -> keras.Model:
    """MobileNetV3-Large without its stages of 16 and 24 channels, for 32x32.

    As in the paper, a block's activations are behind the expansion and the depthwise convolution, and the projection is
    linear. The original program had them behind the expansion and the projection.
    The stem's activation is ReLU6, the paper's a hard swish.
    """
    return assemble(trunk, "mobilenet_v3", head=head, **options)
