"""Dual path networks (Chen et al. 2017): each block adds to a residual path and appends to a dense path."""

from __future__ import annotations

from collections.abc import Callable

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import (
    CHANNELS_LAST,
    Stages,
    bn_act,
    classifier,
    conv,
    conv_bn_act,
    end_stage,
    grouped_conv,
)
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

PAPER = "arXiv:1707.01629"


def fork(x: Tensor, width: int, growth: int, strides: int, name: str) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution for each path. The paper has one convolution and splits its output."""
    return conv(x, width, 1, strides, f"{name}_residual"), conv(x, growth, 1, strides, f"{name}_dense")


def branch(x: Tensor, width: int, growth: int, strides: int, name: str) -> tuple[Tensor, Tensor]:
    """A bottleneck with a 3x3 convolution in 32 groups, whose input is both paths and which has an output for each."""
    middle = 3 * width // 8
    x = conv(bn_act(x, f"{name}_1"), middle, 1, 1, f"{name}_1", use_bias=False)
    x = grouped_conv(bn_act(x, f"{name}_2"), middle, 3, strides, f"{name}_2", use_bias=False)
    return fork(bn_act(x, f"{name}_3"), width, growth, 1, f"{name}_3")


def dual_path_trunk(units: tuple[int, ...], growths: tuple[int, ...]) -> Callable[[Tensor], Stages]:
    """Stages of dual path blocks.

    Args:
        units: Tuple of integers. Number of blocks in each stage.
        growths: Tuple of integers. Number of channels that a block of each stage appends to the dense path.
    """

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = conv_bn_act(x, 32, 3, 1, "stem", use_bias=False)
        for number, (count, growth) in enumerate(zip(units, growths, strict=True), start=1):
            if number > 1:
                x = end_stage(x, stages)
            width = 128 * 2**number
            strides = 1 if number == 1 else 2
            residual, dense = fork(x, width, growth, strides, f"stage{number}_shortcut")
            for unit in range(1, count + 1):
                name = f"stage{number}_unit{unit}"
                add, append = branch(x, width, growth, strides if unit == 1 else 1, name)
                residual = layers.Add(name=f"{name}_add")([residual, add])
                dense = layers.Concatenate(name=f"{name}_append")([dense, append])
                x = layers.Concatenate(name=f"{name}_concat")([residual, dense])
        end_stage(bn_act(x, "final"), stages)
        return stages

    return trunk


def mean_max_head(x: Tensor, classes: int) -> Tensor:
    """The mean of global average and max-pooling, and a dense layer."""
    mean = layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="head_mean")(x)
    largest = layers.GlobalMaxPooling2D(data_format=CHANNELS_LAST, name="head_max")(x)
    return classifier(layers.Average(name="head_pool")([mean, largest]), classes)


@register_model(
    paper=PAPER, params=21_050_538, trainable=20_990_602, rows=(PublishedRow(CNN_MODELS, "DualPathNet50", 95.44),)
)
def dual_path_net50() -> Architecture:
    """A dual path network of 3-4-6-3 units, which is not in the paper; stem for 32x32."""
    return Architecture(dual_path_trunk((3, 4, 6, 3), (16, 32, 64, 128)), mean_max_head)


@register_model(
    paper=PAPER, params=34_380_578, trainable=34_262_882, rows=(PublishedRow(CNN_MODELS, "DualPathNet92", 95.78),)
)
def dual_path_net92() -> Architecture:
    """DPN-92: 3-4-20-3 units, stem for 32x32."""
    return Architecture(dual_path_trunk((3, 4, 20, 3), (16, 32, 24, 128)), mean_max_head)
