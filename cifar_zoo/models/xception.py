"""Xception (Chollet 2017): residual blocks of separable convolutions."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import (
    CHANNELS_LAST,
    Stages,
    batch_norm,
    bn_act,
    conv,
    conv_bn_act,
    end_stage,
    max_pool,
    per_channel_he,
)
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def separable_conv(x: Tensor, filters: int, name: str) -> Tensor:
    """A 3x3 depthwise convolution, then a 1x1 convolution with bias."""
    return layers.SeparableConv2D(
        filters,
        3,
        padding="same",
        data_format=CHANNELS_LAST,
        depthwise_initializer=per_channel_he(),
        pointwise_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def middle_block(x: Tensor, filters: int, name: str) -> Tensor:
    """Three separable convolutions and an identity shortcut."""
    y = x
    for index in (1, 2, 3):
        y = separable_conv(bn_act(y, f"{name}_{index}"), filters, f"{name}_{index}")
    return layers.Add(name=f"{name}_add")([x, y])


def reducing_block(x: Tensor, middle: int, filters: int, name: str) -> Tensor:
    """Two separable convolutions and max-pooling, and a projection of the raw input as the shortcut, at stride 2."""
    y = separable_conv(bn_act(x, f"{name}_1"), middle, f"{name}_1")
    y = separable_conv(bn_act(y, f"{name}_2"), filters, f"{name}_2")
    y = max_pool(batch_norm(y, name), 3, 2, f"{name}_pool", padding="same")
    return layers.Add(name=f"{name}_add")([conv(x, filters, 1, 2, f"{name}_shortcut"), y])


def trunk(x: Tensor) -> Stages:
    """One block of the entry flow, eight of the middle flow, and the exit flow."""
    stages: Stages = {}
    x = end_stage(conv_bn_act(x, 64, 3, 1, "stem"), stages)
    x = reducing_block(x, 182, 182, "entry")
    for index in range(1, 9):
        x = middle_block(x, 182, f"middle{index}")
    x = reducing_block(end_stage(x, stages), 182, 256, "exit")
    x = bn_act(separable_conv(x, 384, "exit_3"), "exit_3")
    end_stage(bn_act(separable_conv(x, 512, "exit_4"), "exit_4"), stages)
    return stages


@register_model(
    paper="arXiv:1610.02357",
    params=1_362_108,
    trainable=1_349_356,
    rows=(PublishedRow(CNN_MODELS, "Xception", 94.56),),
)
def xception() -> Architecture:
    """Xception for 32x32: a quarter of the paper's channels, one of its three entry blocks, stem at stride 1."""
    return Architecture(trunk)
