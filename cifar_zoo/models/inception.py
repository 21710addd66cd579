"""Inception-v1 (Szegedy et al. 2014) and Inception-v2 (Ioffe and Szegedy 2015), narrowed for 32x32 images.

The networks are defined by tables, as described in `cifar_zoo.models.blocks`. The biases of the classifier are
initialized to 0 in all Inception networks. The original programs of v2 to v4 use 0.1, which raises all class scores
equally and does not change the softmax.
"""

from __future__ import annotations

from functools import partial

from cifar_zoo.models.blocks import inception_trunk, inception_v2_block, pooled_head
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def v1_block(a: int, b: int, d: int, e: int, f: int, g: int) -> tuple:
    """Parallel 1x1, 3x3, 5x5 and pooling branches. 1x1 convolutions reduce the channels of the expensive ones."""
    return ((1, a),), ((1, b), (3, d)), ((1, e), (5, f)), ("max", (1, g))


def v2_reduction(b: int, d: int, e: int, f: int) -> tuple:
    """A block at stride 2, with max-pooling of the input as one of the branches."""
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
        inception_v2_block(16, 16, 16, 16, 24, 8),
        inception_v2_block(16, 16, 24, 16, 24, 16),
    ),
    (
        v2_reduction(32, 40, 16, 24),
        inception_v2_block(56, 16, 24, 24, 32, 32),
        inception_v2_block(48, 24, 32, 24, 32, 32),
        inception_v2_block(40, 32, 40, 32, 40, 32),
        inception_v2_block(24, 32, 48, 40, 48, 32),
    ),
    (
        v2_reduction(32, 48, 48, 64),
        inception_v2_block(88, 48, 80, 40, 56, 32),
        inception_v2_block(88, 48, 80, 48, 56, 32, pool="max"),
    ),
)


@register_model(
    paper="arXiv:1409.4842", params=374_222, trainable=370_694, rows=(PublishedRow(CNN_MODELS, "InceptionV1", 93.02),)
)
def inception_v1() -> Architecture:
    """Inception-v1 (GoogLeNet) of about a quarter of the paper's width, nine blocks in three stages.

    Unlike in the paper, the stem is a 3x3 convolution at full resolution, batch norm follows every convolution, and
    there are no auxiliary classifiers.
    """
    return Architecture(inception_trunk(V1, padding="same"), partial(pooled_head, dropout=0.4))


@register_model(
    paper="arXiv:1502.03167", params=647_074, trainable=642_162, rows=(PublishedRow(CNN_MODELS, "InceptionV2", 93.40),)
)
def inception_v2() -> Architecture:
    """Inception-v2 (Inception with batch norm) of about a quarter of the paper's width, ten blocks in three stages.

    Unlike in the paper, the stem is a 3x3 convolution at full resolution, and there is dropout before the classifier.
    """
    return Architecture(inception_trunk(V2, padding="same"), partial(pooled_head, dropout=0.4))
