"""Inception-ResNet-v2 (Szegedy et al. 2016) of a quarter of the width, with a stem for 32x32 images."""

from __future__ import annotations

import functools
from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, pooled_head, stage
from cifar_zoo.models.inception import conv_bn_relu, inception
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model

A = (
    ((1, 8),),
    ((1, 8), (3, 8)),
    ((1, 8), (3, 12), (3, 16)),
)
REDUCTION_A = (
    ((3, 96, 2),),
    ((1, 64), (3, 64), (3, 96, 2)),
    ("max/2",),
)
B = (
    ((1, 48),),
    ((1, 32), ((1, 7), 40), ((7, 1), 48)),
)
REDUCTION_B = (
    ((1, 64), (3, 96, 2)),
    ((1, 64), (3, 72, 2)),
    ((1, 64), (3, 72), (3, 80, 2)),
    ("max/2",),
)
C = (
    ((1, 48),),
    ((1, 48), ((1, 3), 56), ((3, 1), 64)),
)


def residual(x, block: tuple, name: str):
    """A block, brought by a linear 1x1 convolution to the width of its input and added to it; batch norm and ReLU."""
    y = inception(x, block, name)
    y = zoo_layers.Conv2D(x.shape[-1], 1, kernel_initializer="he_normal", name=f"{name}_project_conv")(y)
    x = layers.Add(name=f"{name}_add")([x, y])
    x = zoo_layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def trunk(x):
    """All but the classifier."""
    x = conv_bn_relu(x, 96, 3, "stem")
    for number, (reduction, block, units) in enumerate(
        ((None, A, 5), (REDUCTION_A, B, 10), (REDUCTION_B, C, 5)), start=1
    ):
        if reduction:
            x = inception(x, reduction, f"stage{number}_reduction")
        for unit in range(1, units + 1):
            x = residual(x, block, f"stage{number}_unit{unit}")
        x = stage(x, number)
    return x


@register_model(
    paper="arXiv:1602.07261",
    params=1_909_846,
    trainable=1_889_790,
    rows=(PublishedRow(CNN_MODELS, "Inception-ResNet-V2", 93.97),),
)
def inception_resnet_v2(**options: Unpack[Options]) -> keras.Model:
    """Inception-ResNet-v2 of a quarter of the paper's width: 5 blocks A, 10 B and 5 C, behind a 3x3 stem at full size.

    Unlike the paper's: batch norm behind every addition, and no constant that scales the branches down.
    """
    return assemble(trunk, "inception_resnet_v2", head=functools.partial(pooled_head, dropout=0.2), **options)
