"""Network in network (Lin et al. 2013) with batch norm."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import (
    Stages,
    batch_norm,
    conv_bn_act,
    conv_classifier,
    end_stage,
    max_pool,
    pool_scores,
)
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def trunk(x: Tensor) -> Stages:
    """Three stages of one wide and one or two 1x1 convolutions, with max-pooling and dropout between them."""
    stages: Stages = {}
    for number, (size, *widths) in enumerate(((5, 192, 160, 96), (5, 192, 192, 192), (3, 192, 192)), start=1):
        if number > 1:
            x = max_pool(x, 3, 2, f"stage{number}_pool", padding="same")
            x = layers.Dropout(0.5, name=f"stage{number}_dropout")(x)
        for unit, filters in enumerate(widths, start=1):
            x = conv_bn_act(x, filters, size if unit == 1 else 1, 1, f"stage{number}_{unit}")
        x = end_stage(x, stages)
    return stages


def head(x: Tensor, classes: int) -> Tensor:
    """A 1x1 convolution with one filter per class, batch norm and global average pooling."""
    return pool_scores(batch_norm(conv_classifier(x, classes), "classifier", dtype="float32"))


@register_model(
    paper="arXiv:1312.4400", params=972_658, trainable=969_822, rows=(PublishedRow(CNN_MODELS, "NIN", 90.38),)
)
def nin() -> Architecture:
    """Network in network: three stages of one wide and two 1x1 convolutions with batch norm, dropout between.

    Unlike in the original program, there is no ReLU on the class scores. Their batch norm is kept.
    """
    return Architecture(trunk, head)
