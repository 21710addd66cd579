"""Shake-Shake regularization (Gastaldi 2017): two branches side by side, mixed at random."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.wide_resnet import lecun_conv, lecun_head
from cifar_zoo.registry import FLAX, Options, PublishedRow, register_model


def conv_bn(x, filters: int, stride: int, name: str):
    """A 3x3 convolution and batch norm."""
    x = lecun_conv(x, filters, 3, stride, name)
    return zoo_layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)


def branch(x, filters: int, stride: int, name: str):
    """Two 3x3 convolutions, each behind a ReLU and in front of batch norm."""
    x = conv_bn(layers.ReLU(name=f"{name}_1_relu")(x), filters, stride, f"{name}_1")
    return conv_bn(layers.ReLU(name=f"{name}_2_relu")(x), filters, 1, f"{name}_2")


def trunk(widths: tuple[int, ...]):
    """All but the classifier, for so many channels in each stage."""

    def apply(x):
        x = lecun_conv(x, 16, 3, 1, "stem")
        for number, filters in enumerate(widths, start=1):
            if number > 1:
                x = stage(x, number - 1)
            for unit in range(1, 5):
                name = f"stage{number}_unit{unit}"
                stride = 2 if number > 1 and unit == 1 else 1
                pair = [branch(x, filters, stride, f"{name}_{side}") for side in ("left", "right")]
                mixed = zoo_layers.ShakeShake(name=f"{name}_shake")(pair)
                if unit == 1:
                    x = conv_bn(x, filters, stride, f"{name}_shortcut")
                x = layers.Add(name=f"{name}_add")([x, mixed])
        return stage(layers.ReLU(name="final_relu")(x), len(widths))

    return apply


@register_model(
    paper="arXiv:1705.07485",
    params=26_976_746,
    trainable=26_953_898,
    rows=(PublishedRow(FLAX, "Wide ResNet 26-6 Shake-Shake", 96.57),),
)
def wrn26_6_shake_shake(**options: Unpack[Options]) -> keras.Model:
    """Shake-Shake 26 2x96d: three stages of four units with two branches of 96, 192 and 384 channels.

    Where the shape changes the shortcut is a 3x3 convolution; the paper has two shifted paths of 1x1 convolutions.
    """
    return assemble(trunk((96, 192, 384)), "wrn26_6_shake_shake", head=lecun_head, **options)
