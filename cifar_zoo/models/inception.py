"""Inception-v1 (Szegedy et al. 2014) and Inception-v2 (Ioffe and Szegedy 2015), narrowed for 32x32 images.

All Inception networks are written as tables. A stage is a tuple of blocks, a block is a tuple of branches side by
side, and a branch is a tuple of steps one after the other. A step is one of

    (3, 64)                         a 3x3 convolution to 64 channels, with batch norm and ReLU
    ((1, 7), 64)                    the same with a kernel of height 1 and width 7
    (3, 64, 2)                      the same at stride 2
    [((1, 3), 64), ((3, 1), 64)]    two convolutions side by side, concatenated
    "avg", "max", "max/2"           3x3 pooling at stride 1 or 2

The class biases of all start at 0. The 0.1 of the original programs of v2 to v4 raises all scores alike, which the
softmax does not see.
"""

from __future__ import annotations

import functools
from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, pooled_head, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def conv_bn_relu(x, filters: int, size: int | tuple[int, int], name: str, *, strides: int = 1, padding: str = "same"):
    """A convolution with bias, batch norm and ReLU."""
    x = zoo_layers.Conv2D(filters, size, strides, padding, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    x = zoo_layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def apply_step(x, step: tuple | list | str, name: str, padding: str):
    """One step of a branch; `padding` matters at stride 2 only."""
    if isinstance(step, str):
        pool = layers.AveragePooling2D if step == "avg" else zoo_layers.MaxPooling2D
        strides = 2 if step == "max/2" else 1
        return pool(3, strides, padding=padding if strides > 1 else "same", name=f"{name}_pool")(x)
    if isinstance(step, list):
        ends = [apply_step(x, part, f"{name}{letter}", padding) for part, letter in zip(step, "ab", strict=True)]
        return layers.Concatenate(name=f"{name}_concat")(ends)
    size, filters, strides = step if len(step) == 3 else (*step, 1)
    return conv_bn_relu(x, filters, size, name, strides=strides, padding=padding if strides > 1 else "same")


def inception(x, block: tuple, name: str, padding: str = "valid"):
    """A block: its branches, concatenated."""
    ends = []
    for branch, steps in enumerate(block, start=1):
        end = x
        for number, step in enumerate(steps, start=1):
            end = apply_step(end, step, f"{name}_branch{branch}_{number}", padding)
        ends.append(end)
    return layers.Concatenate(name=f"{name}_concat")(ends) if len(ends) > 1 else ends[0]


def trunk(stages: tuple, padding: str = "valid"):
    """A 3x3 stem of 32 channels and the stages."""

    def apply(x):
        x = conv_bn_relu(x, 32, 3, "stem")
        for number, blocks in enumerate(stages, start=1):
            for unit, block in enumerate(blocks, start=1):
                x = inception(x, block, f"stage{number}_unit{unit}", padding)
            x = stage(x, number)
        return x

    return apply


def v1_block(a: int, b: int, d: int, e: int, f: int, g: int) -> tuple:
    """1x1, 3x3, 5x5 and pooling side by side; 1x1 convolutions keep the costly branches narrow."""
    return ((1, a),), ((1, b), (3, d)), ((1, e), (5, f)), ("max", (1, g))


def v2_block(a: int, b: int, d: int, e: int, f: int, g: int, pool: str = "avg") -> tuple:
    """The block of Inception-v1 with two 3x3 convolutions for the 5x5."""
    return ((1, a),), ((1, b), (3, d)), ((1, e), (3, f), (3, f)), (pool, (1, g))


def v2_reduction(b: int, d: int, e: int, f: int) -> tuple:
    """To half of the side; the pooled input passes as it is."""
    return ((1, b), (3, d, 2)), ((1, e), (3, f), (3, f, 2)), ("max/2",)


V1 = (
    (
        v1_block(16, 24, 32, 4, 8, 8),
        v1_block(32, 32, 48, 8, 16, 16),
    ),
    (
        (("max/2",),),
        v1_block(48, 24, 52, 4, 12, 16),
        v1_block(40, 28, 56, 6, 16, 16),
        v1_block(32, 32, 64, 6, 16, 16),
        v1_block(28, 36, 72, 8, 16, 16),
        v1_block(64, 40, 80, 8, 32, 32),
    ),
    (
        (("max/2",),),
        v1_block(64, 40, 80, 8, 32, 32),
        v1_block(96, 48, 96, 12, 32, 32),
    ),
)
V2 = (
    (
        v2_block(16, 16, 16, 16, 24, 8),
        v2_block(16, 16, 24, 16, 24, 16),
    ),
    (
        v2_reduction(32, 40, 16, 24),
        v2_block(56, 16, 24, 24, 32, 32),
        v2_block(48, 24, 32, 24, 32, 32),
        v2_block(40, 32, 40, 32, 40, 32),
        v2_block(24, 32, 48, 40, 48, 32),
    ),
    (
        v2_reduction(32, 48, 48, 64),
        v2_block(88, 48, 80, 40, 56, 32),
        v2_block(88, 48, 80, 48, 56, 32, pool="max"),
    ),
)


@register_model(
    paper="arXiv:1409.4842", params=374_222, trainable=370_694, rows=(PublishedRow(CNN_MODELS, "InceptionV1", 93.02),)
)
def inception_v1(**options: Unpack[Options]) -> keras.Model:
    """Inception-v1 (GoogLeNet) of about a quarter of the paper's width, nine blocks in three stages.

    Unlike the paper's: a 3x3 stem at full size, batch norm behind every convolution, no auxiliary classifiers.
    """
    head = functools.partial(pooled_head, dropout=0.4)
    return assemble(trunk(V1, padding="same"), "inception_v1", head=head, **options)


@register_model(
    paper="arXiv:1502.03167", params=647_074, trainable=642_162, rows=(PublishedRow(CNN_MODELS, "InceptionV2", 93.40),)
)
def inception_v2(**options: Unpack[Options]) -> keras.Model:
    """Inception-v2 (Inception with batch norm) of about a quarter of the paper's width, ten blocks in three stages.

    Unlike the paper's: a 3x3 stem at full size, and dropout before the classifier.
    """
    head = functools.partial(pooled_head, dropout=0.4)
    return assemble(trunk(V2, padding="same"), "inception_v2", head=head, **options)
