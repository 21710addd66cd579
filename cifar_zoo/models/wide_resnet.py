"""Wide residual networks (Zagoruyko and Komodakis 2016): three stages of four units with two 3x3 convolutions each."""

from __future__ import annotations

from functools import partial
from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import bn_act, conv, trunk
from cifar_zoo.registry import CNN_MODELS, FLAX, Options, PublishedRow, register_model

PAPER = "arXiv:1605.07146"
UNITS, WIDTHS = (4, 4, 4), (160, 320, 640)


def wide_branch(x, filters: int, stride: int, name: str, dropout: float = 0.3, activation: str = "relu"):
    """A branch of two 3x3 convolutions with dropout between them."""
    x = conv(bn_act(x, f"{name}_1", activation), filters, 3, stride, f"{name}_1")
    x = bn_act(x, f"{name}_2", activation)
    x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return conv(x, filters, 3, 1, f"{name}_2")


def swish_excite(x, index: int, name: str):
    """Squeeze-and-excitation with biases, and swish inside."""
    return zoo_layers.SqueezeExcite(16, activation="silu", name=f"{name}_se")(x)


def lecun_conv(x, filters: int, size: int, stride: int, name: str):
    """A convolution as in the networks of Flax: with bias, the kernel LeCun normal."""
    return zoo_layers.Conv2D(
        filters, size, stride, padding="same", kernel_initializer="lecun_normal", name=f"{name}_conv"
    )(x)


def lecun_head(x, classes: int):
    """The top of the networks of Flax: global average pooling and one dense layer, the kernel LeCun normal."""
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    return layers.Dense(classes, kernel_initializer="lecun_normal", dtype="float32", name="classifier")(x)


def flax_trunk(widths: tuple[int, ...] = WIDTHS, dropout: float = 0.3):
    """All but the classifier: no batch norm behind the stem, and shortcuts that project by 3x3."""

    def bn_relu(x, name):
        return layers.ReLU(name=f"{name}_relu")(zoo_layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x))

    def apply(x):
        x = lecun_conv(x, 16, 3, 1, "stem")
        for number, filters in enumerate(widths, start=1):
            if number > 1:
                x = stage(x, number - 1)
            for unit in range(1, 5):
                name = f"stage{number}_unit{unit}"
                stride = 2 if number > 1 and unit == 1 else 1
                y = lecun_conv(bn_relu(x, f"{name}_1"), filters, 3, stride, f"{name}_1")
                y = layers.Dropout(dropout, name=f"{name}_dropout")(bn_relu(y, f"{name}_2"))
                y = lecun_conv(y, filters, 3, 1, f"{name}_2")
                if unit == 1:
                    x = lecun_conv(x, filters, 3, stride, f"{name}_shortcut")
                x = layers.Add(name=f"{name}_add")([x, y])
        return stage(bn_relu(x, "final"), len(widths))

    return apply


@register_model(
    paper=PAPER, params=36_507_306, trainable=36_489_322, rows=(PublishedRow(CNN_MODELS, "WideResNet", 95.94),)
)
def wide_resnet28_10(**options: Unpack[Options]) -> keras.Model:
    """Wide ResNet 28-10: 160 to 640 channels, dropout 0.3 between the convolutions of a unit.

    The published accuracy is said to be of a dropout of 0.1; the published program has 0.3, as the paper.
    """
    return assemble(trunk(wide_branch, UNITS, WIDTHS, stem=16), "wide_resnet28_10", **options)


@register_model(
    paper="arXiv:1709.01507",
    params=36_859_330,
    trainable=36_841_154,
    rows=(PublishedRow(CNN_MODELS, "SE-WideResNet", 96.6), PublishedRow(CNN_MODELS, "SE-WideResNet_2", 97.05)),
)
def se_wide_resnet28_10(**options: Unpack[Options]) -> keras.Model:
    """Wide ResNet 28-10 with squeeze-and-excitation on every branch, swish for ReLU, a stem of 64 and dropout 0.2.

    The second row of the table is the same network after a longer training, with a dropout of 0.1.
    """
    branch = partial(wide_branch, dropout=0.2, activation="silu")
    body = trunk(branch, UNITS, WIDTHS, stem=64, stem_bias=False, activation="silu", gate=swish_excite)
    return assemble(body, "se_wide_resnet28_10", **options)


@register_model(
    paper=PAPER, params=38_575_722, trainable=38_557_770, rows=(PublishedRow(FLAX, "Wide ResNet 26-10", 95.55),)
)
def wrn26_10(**options: Unpack[Options]) -> keras.Model:
    """Wide ResNet 26-10: 160 to 640 channels, 3x3 shortcuts, no batch norm in the stem, dropout 0.3.

    By the paper's count of layers this is a 28-10 whose shortcuts are 3x3 convolutions instead of 1x1.
    """
    return assemble(flax_trunk(), "wrn26_10", head=lecun_head, **options)
