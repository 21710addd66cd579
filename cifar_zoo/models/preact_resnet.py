"""Residual networks with pre-activation (He et al. 2016), widths of the ImageNet nets, stem for 32x32."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo import layers as zoo_layers
from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.assemble import assemble
from cifar_zoo.registry import Options, register

PAPER = "arXiv:1603.05027"


def conv(x, filters: int, size: int, stride: int, name: str):
    """A convolution with bias."""
    return layers.Conv2D(filters, size, stride, padding="same", kernel_initializer="he_normal", name=f"{name}_conv")(x)


def bn_relu(x, name: str):
    """Batch norm and ReLU."""
    x = zoo_layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def basic_block(x, filters: int, stride: int, name: str):
    """Two 3x3 convolutions; where the shape changes, the shortcut projects the block's raw input."""
    shortcut = conv(x, filters, 1, stride, f"{name}_shortcut") if stride > 1 else x
    x = conv(bn_relu(x, f"{name}_1"), filters, 3, stride, f"{name}_1")
    x = conv(bn_relu(x, f"{name}_2"), filters, 3, 1, f"{name}_2")
    return layers.Add(name=f"{name}_add")([x, shortcut])


def trunk(units: tuple[int, ...]):
    """All but the classifier, for so many units in each stage."""

    def apply(x):
        x = bn_relu(conv(x, 64, 3, 1, "stem"), "stem")
        for stage, count in enumerate(units, start=1):
            for unit in range(1, count + 1):
                stride = 2 if stage > 1 and unit == 1 else 1
                x = basic_block(x, 32 * 2**stage, stride, f"stage{stage}_unit{unit}")
        return bn_relu(x, "final")

    return apply


@register(paper=PAPER, params=11_185_034, trainable=11_177_098)
def resnet18(**options: Unpack[Options]) -> keras.Model:
    """ResNet-18 with pre-activation: 2-2-2-2 basic blocks of 64 to 512 channels, no max-pool in the stem."""
    return assemble(trunk((2, 2, 2, 2)), "resnet18", **options)
