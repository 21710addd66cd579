"""Inception-v4 (Szegedy et al. 2016) of a quarter of the paper's width, with a stem for 32x32 images."""

from __future__ import annotations

from functools import partial

from cifar_zoo.models.blocks import inception_trunk, pooled_head
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

A = (
    ((1, 24),),
    ((1, 16), (3, 24)),
    ((1, 16), (3, 24), (3, 24)),
    ("avg", (1, 24)),
)
REDUCTION_A = (
    ((3, 96, 2),),
    ((1, 48), (3, 56), (3, 64, 2)),
    ("max/2",),
)
B = (
    ((1, 96),),
    ((1, 48), ((1, 7), 56), ((7, 1), 64)),
    ((1, 48), ((1, 7), 48), ((7, 1), 56), ((1, 7), 56), ((7, 1), 64)),
    ("avg", (1, 32)),
)
REDUCTION_B = (
    ((1, 48), (3, 48, 2)),
    ((1, 64), ((1, 7), 64), ((7, 1), 80), (3, 80, 2)),
    ("max/2",),
)
C = (
    ((1, 64),),
    ((1, 96), [((1, 3), 64), ((3, 1), 64)]),
    ((1, 96), ((1, 3), 112), ((3, 1), 128), [((1, 3), 64), ((3, 1), 64)]),
    ("avg", (1, 64)),
)
STAGES = ((A,) * 4, (REDUCTION_A, *(B,) * 7), (REDUCTION_B, *(C,) * 3))


@register_model(
    paper="arXiv:1602.07261",
    params=2_567_882,
    trainable=2_552_458,
    rows=(PublishedRow(CNN_MODELS, "InceptionV4", 94.55),),
)
def inception_v4() -> Architecture:
    """Inception-v4 of a quarter of the paper's width: 4 blocks A, 7 B, 3 C after a 3x3 stem at full resolution."""
    return Architecture(inception_trunk(STAGES), partial(pooled_head, dropout=0.2))
