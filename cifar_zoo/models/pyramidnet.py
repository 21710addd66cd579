"""Pyramidal residual networks (Han et al. 2017): a little wider with every unit, plain and with ShakeDrop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import conv
from cifar_zoo.models.wide_resnet import lecun_conv, lecun_head
from cifar_zoo.registry import CNN_MODELS, FLAX, Options, PublishedRow, register_model


def widths110() -> list[int]:
    """The widths of 36 units: from 16, by 200/36 a unit, rounded down."""
    return [16 + 200 * index // 36 for index in range(36)]


def widths272() -> list[int]:
    """The widths of 90 units: 200/90 more than 16, and so on, rounded down.

    The sum runs in floating point as in the original program, so that units 9 and 18 get 35 and 55, one less than the
    exact sum.
    """
    widths, width = [], 16.0
    for _ in range(90):
        width += 200 / 90
        widths.append(int(width))
    return widths


def trunk(
    widths: list[int],
    convolve: Callable,
    epsilon: float,
    stem_relu: bool = False,
    shake_drop: bool = False,
):
    """All but the classifier.

    Args:
        widths: filters of the units, which make three stages of equally many.
        convolve: the convolution, `convolve(x, filters, size, stride, name)`.
        epsilon: of batch norm.
        stem_relu: whether there is a ReLU behind the stem.
        shake_drop: whether ShakeDrop acts on the branches, more so the deeper.
    """
    units = len(widths) // 3

    def bn(x, name):
        return zoo_layers.BatchNormalization(epsilon=epsilon, name=f"{name}_bn")(x)

    def bn_relu(x, name):
        return layers.ReLU(name=f"{name}_relu")(bn(x, name))

    def apply(x):
        x = (bn_relu if stem_relu else bn)(convolve(x, 16, 3, 1, "stem"), "stem")
        for index, width in enumerate(widths):
            number, unit = index // units + 1, index % units + 1
            name = f"stage{number}_unit{unit}"
            stride = 1
            if number > 1 and unit == 1:
                x = stage(x, number - 1)
                stride = 2
            y = convolve(bn(x, f"{name}_1"), width, 1, 1, f"{name}_1")
            y = convolve(bn_relu(y, f"{name}_2"), width, 3, stride, f"{name}_2")
            y = convolve(bn_relu(y, f"{name}_3"), 4 * width, 1, 1, f"{name}_3")
            y = bn(y, f"{name}_4")
            if shake_drop:
                keep_probability = zoo_layers.linear_decay(index + 1, len(widths))
                y = zoo_layers.ShakeDrop(keep_probability, name=f"{name}_shake_drop")(y)
            if stride > 1:
                x = layers.AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
            x = zoo_layers.PadChannels(4 * width, name=f"{name}_shortcut_pad")(x)
            # Keras walks the graph by recursion, first inputs first: down the shortcuts it stays within Python's limit.
            x = layers.Add(name=f"{name}_add")([x, y])
        return stage(bn_relu(x, "final"), 3)

    return apply


@register_model(
    paper="arXiv:1610.02915",
    params=9_900_626,
    trainable=9_819_362,
    rows=(PublishedRow(CNN_MODELS, "PyramidNet110", 95.65),),
)
def pyramidnet110(**options: Unpack[Options]) -> keras.Model:
    """PyramidNet-110 with bottlenecks, alpha 200: 3 x 12 units, 64 to 840 channels.

    The network that the published count is of: its widths are one step behind the paper's, which go from 21 to 216 in
    front of the factor of four. The published program has other widths and another count.
    """
    body = trunk(widths110(), partial(conv, bias=False), epsilon=1e-3, stem_relu=True)
    return assemble(body, "pyramidnet110", **options)


@register_model(
    paper="arXiv:1802.02375",
    params=26_319_456,
    trainable=26_109_432,
    rows=(PublishedRow(FLAX, "PyramidNet Shake-drop", 96.75),),
)
def pyramidnet272_shake_drop(**options: Unpack[Options]) -> keras.Model:
    """PyramidNet-272 with bottlenecks, alpha 200, and ShakeDrop: 3 x 30 units, 72 to 864 channels.

    Unit l of 1..90 keeps its branch with probability 1 - 0.5 l/90.
    """
    body = trunk(widths272(), lecun_conv, epsilon=1e-5, shake_drop=True)
    return assemble(body, "pyramidnet272_shake_drop", head=lecun_head, **options)
