"""Residual blocks of dilated convolutions (the hybrid dilated convolution of Wang et al. 2017) at full size."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import bn_act
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def conv(x, filters: int, size: int, dilation: int, name: str):
    """A convolution with bias."""
    return zoo_layers.Conv2D(
        filters,
        size,
        padding="same",
        dilation_rate=dilation,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def block(x, filters: int, name: str):
    """3x3 convolutions with holes of rate 1, 2 and 3, which leave no gaps between them, beside a 1x1 shortcut."""
    shortcut = conv(x, filters, 1, 1, f"{name}_shortcut")
    x = bn_act(conv(x, filters, 3, 1, f"{name}_1"), f"{name}_1")
    x = bn_act(conv(x, filters, 3, 2, f"{name}_2"), f"{name}_2")
    x = conv(x, filters, 3, 3, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return bn_act(x, name)


def trunk(x):
    """All but the classifier: one stage, as the size never changes."""
    for unit, filters in enumerate((16, 32, 64, 128, 256), start=1):
        x = block(x, filters, f"stage1_unit{unit}")
    return stage(x, 1)


@register_model(
    paper="arXiv:1702.08502",
    params=2_017_514,
    trainable=2_014_538,
    rows=(PublishedRow(CNN_MODELS, "DilatedConv", 93.22),),
)
def dilated_conv(**options: Unpack[Options]) -> keras.Model:
    """Five residual blocks of 16 to 256 channels whose dilated convolutions widen the view, and no down-sampling."""
    return assemble(trunk, "dilated_conv", **options)
