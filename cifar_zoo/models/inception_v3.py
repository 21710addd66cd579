"""Inception-v3 (Szegedy et al. 2015) with factorized convolutions, narrowed for 32x32 images."""

from __future__ import annotations

from functools import partial

from cifar_zoo.models.blocks import inception_trunk, inception_v2_block, pooled_head
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

ROW, COLUMN = (1, 3), (3, 1)


def factorized(width: int) -> tuple:
    """Alternating 1x3 and 3x1 convolutions. `width` is the number of filters of all but the last step of a branch."""
    short = (1, width), (ROW, width), (COLUMN, 48)
    long = (1, width), (ROW, width), (COLUMN, width), (ROW, width), (COLUMN, 48)
    return ((1, 48),), short, long, ("avg", (1, 48))


EXPANDED = (
    ((1, 80),),
    ((1, 96), [(ROW, 96), (COLUMN, 96)]),
    ((1, 112), (3, 96), [(ROW, 96), (COLUMN, 96)]),
    ("avg", (1, 48)),
)
STAGES = (
    (
        inception_v2_block(16, 12, 16, 16, 24, 8),
        inception_v2_block(16, 12, 16, 16, 24, 16),
        inception_v2_block(16, 12, 16, 16, 24, 16),
    ),
    (
        (((1, 48), (3, 96, 2)), ((1, 16), (3, 24), (3, 24, 2)), ("max/2",)),
        factorized(32),
        factorized(40),
        factorized(40),
        factorized(48),
    ),
    (
        (((1, 48), (3, 80, 2)), ((1, 48), (3, 48), (3, 48, 2)), ("max/2",)),
        EXPANDED,
        EXPANDED,
    ),
)


@register_model(
    paper="arXiv:1512.00567",
    params=1_171_142,
    trainable=1_162_670,
    rows=(PublishedRow(CNN_MODELS, "InceptionV3", 94.20),),
)
def inception_v3() -> Architecture:
    """Inception-v3 of a quarter of the paper's width, eleven blocks in three stages.

    Unlike in the paper, the stem is a 3x3 convolution at full resolution, the factorized kernels have size 3 instead of
    7, and there is no auxiliary classifier.
    """
    return Architecture(inception_trunk(STAGES), partial(pooled_head, dropout=0.4))
