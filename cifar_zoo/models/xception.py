"""Xception (Chollet 2017): residual blocks of separable convolutions."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.mobilenet_v3 import batch_norm
from cifar_zoo.models.preact_resnet import bn_act, conv
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def separable(x, filters: int, name: str):
    """A 3x3 convolution of each channel, then a 1x1 convolution with bias."""
    return layers.SeparableConv2D(
        filters,
        3,
        padding="same",
        # He's initialization: a filter reads one channel, which is what Keras calls the fan-out of these kernels.
        depthwise_initializer=keras.initializers.VarianceScaling(2.0, "fan_out"),
        pointwise_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def middle_block(x, filters: int, name: str):
    """Three separable convolutions beside the identity."""
    y = x
    for index in (1, 2, 3):
        y = separable(bn_act(y, f"{name}_{index}"), filters, f"{name}_{index}")
    return layers.Add(name=f"{name}_add")([x, y])


def reducing_block(x, middle: int, filters: int, name: str):
    """Two separable convolutions and max-pooling beside a projection of the raw input, to half the size."""
    y = separable(bn_act(x, f"{name}_1"), middle, f"{name}_1")
    y = separable(bn_act(y, f"{name}_2"), filters, f"{name}_2")
    y = zoo_layers.MaxPooling2D(3, 2, padding="same", name=f"{name}_pool")(batch_norm(y, name))
    return layers.Add(name=f"{name}_add")([conv(x, filters, 1, 2, f"{name}_shortcut"), y])


def trunk(x):
    """All but the classifier."""
    x = stage(bn_act(conv(x, 64, 3, 1, "stem"), "stem"), 1)
    x = reducing_block(x, 182, 182, "entry")
    for index in range(1, 9):
        x = middle_block(x, 182, f"middle{index}")
    x = reducing_block(stage(x, 2), 182, 256, "exit")
    x = bn_act(separable(x, 384, "exit_3"), "exit_3")
    return stage(bn_act(separable(x, 512, "exit_4"), "exit_4"), 3)


@register_model(
    paper="arXiv:1610.02357",
    params=1_362_108,
    trainable=1_349_356,
    rows=(PublishedRow(CNN_MODELS, "Xception", 94.56),),
)
def xception(**options: Unpack[Options]) -> keras.Model:
    """Xception for 32x32: a quarter of the paper's channels, one of its three entry blocks, stem at stride 1."""
    return assemble(trunk, "xception", **options)
