"""The residual networks for CIFAR-10 of He et al. 2015, section 4.2: three stages of 16, 32 and 64 channels."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import Options, register_model

PAPER = "arXiv:1512.03385"


def conv_bn(x, filters: int, size: int, stride: int, name: str):
    """A convolution without bias, and batch norm."""
    x = zoo_layers.Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return zoo_layers.BatchNormalization(name=f"{name}_bn")(x)


def block(x, filters: int, stride: int, name: str):
    """Two 3x3 convolutions beside a shortcut: the identity, or a 1x1 projection where the shape changes."""
    shortcut = x
    if stride > 1:
        shortcut = conv_bn(x, filters, 1, stride, f"{name}_shortcut")
    x = conv_bn(x, filters, 3, stride, f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = conv_bn(x, filters, 3, 1, f"{name}_2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def trunk(depth: int):
    """All but the classifier, for a depth of 6 n + 2."""

    def apply(x):
        x = layers.ReLU(name="stem_relu")(conv_bn(x, 16, 3, 1, "stem"))
        for number, filters in enumerate((16, 32, 64), start=1):
            for unit in range(1, (depth - 2) // 6 + 1):
                x = block(x, filters, 2 if number > 1 and unit == 1 else 1, f"stage{number}_unit{unit}")
            x = stage(x, number)
        return x

    return apply


@register_model(paper=PAPER, params=274_042, trainable=272_474)
def resnet20(**options: Unpack[Options]) -> keras.Model:
    """ResNet-20: 3 x 3 basic blocks, projection shortcuts where the paper pads with zeros."""
    return assemble(trunk(20), "resnet20", **options)


@register_model(paper=PAPER, params=469_370, trainable=466_906)
def resnet32(**options: Unpack[Options]) -> keras.Model:
    """ResNet-32: 3 x 5 basic blocks, projection shortcuts where the paper pads with zeros."""
    return assemble(trunk(32), "resnet32", **options)


@register_model(paper=PAPER, params=664_698, trainable=661_338)
def resnet44(**options: Unpack[Options]) -> keras.Model:
    """ResNet-44: 3 x 7 basic blocks, projection shortcuts where the paper pads with zeros."""
    return assemble(trunk(44), "resnet44", **options)


@register_model(paper=PAPER, params=860_026, trainable=855_770)
def resnet56(**options: Unpack[Options]) -> keras.Model:
    """ResNet-56: 3 x 9 basic blocks, projection shortcuts where the paper pads with zeros."""
    return assemble(trunk(56), "resnet56", **options)


@register_model(paper=PAPER, params=1_739_002, trainable=1_730_714)
def resnet110(**options: Unpack[Options]) -> keras.Model:
    """ResNet-110: 3 x 18 basic blocks, projection shortcuts where the paper pads with zeros."""
    return assemble(trunk(110), "resnet110", **options)
