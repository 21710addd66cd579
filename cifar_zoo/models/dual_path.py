"""Dual path networks (Chen et al. 2017): each block adds to a residual path and appends to a dense path."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import bn_act, conv
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model

PAPER = "arXiv:1707.01629"


def fork(x, width: int, growth: int, stride: int, name: str):
    """A 1x1 convolution for each path, which together are the paper's one, split."""
    return conv(x, width, 1, stride, f"{name}_residual"), conv(x, growth, 1, stride, f"{name}_dense")


def branch(x, width: int, growth: int, stride: int, name: str):
    """A bottleneck with a 3x3 convolution in 32 groups: from both paths to what each of them gains."""
    middle = 3 * width // 8
    x = conv(bn_act(x, f"{name}_1"), middle, 1, 1, f"{name}_1", bias=False)
    x = zoo_layers.GroupedConv2D(middle, 3, stride, groups=32, use_bias=False, name=f"{name}_2_conv")(
        bn_act(x, f"{name}_2")
    )
    return fork(bn_act(x, f"{name}_3"), width, growth, 1, f"{name}_3")


def trunk(units: tuple[int, ...], growths: tuple[int, ...]):
    """All but the classifier, for so many units and so much growth of the dense path in each stage."""

    def apply(x):
        x = bn_act(conv(x, 32, 3, 1, "stem", bias=False), "stem")
        for number, (count, growth) in enumerate(zip(units, growths, strict=True), start=1):
            width = 128 * 2**number
            stride = 1 if number == 1 else 2
            residual, dense = fork(x, width, growth, stride, f"stage{number}_shortcut")
            for unit in range(1, count + 1):
                name = f"stage{number}_unit{unit}"
                add, append = branch(x, width, growth, stride if unit == 1 else 1, name)
                residual = layers.Add(name=f"{name}_add")([residual, add])
                dense = layers.Concatenate(name=f"{name}_append")([dense, append])
                x = layers.Concatenate(name=f"{name}_concat")([residual, dense])
            if number < len(units):
                x = stage(x, number)
        return stage(bn_act(x, "final"), len(units))

    return apply


def mean_max_head(x, classes: int):
    """The mean of average and max-pooling, and one dense layer."""
    mean, largest = layers.GlobalAveragePooling2D(name="head_mean")(x), layers.GlobalMaxPooling2D(name="head_max")(x)
    x = layers.Average(name="head_pool")([mean, largest])
    return layers.Dense(classes, dtype="float32", name="classifier")(x)


@register_model(
    paper=PAPER, params=21_050_538, trainable=20_990_602, rows=(PublishedRow(CNN_MODELS, "DualPathNet50", 95.44),)
)
def dual_path_net50(**options: Unpack[Options]) -> keras.Model:
    """A dual path network of 3-4-6-3 units, which is not in the paper; stem for 32x32."""
    return assemble(trunk((3, 4, 6, 3), (16, 32, 64, 128)), "dual_path_net50", head=mean_max_head, **options)


@register_model(
    paper=PAPER, params=34_380_578, trainable=34_262_882, rows=(PublishedRow(CNN_MODELS, "DualPathNet92", 95.78),)
)
def dual_path_net92(**options: Unpack[Options]) -> keras.Model:
    """DPN-92: 3-4-20-3 units, stem for 32x32."""
    return assemble(trunk((3, 4, 20, 3), (16, 32, 24, 128)), "dual_path_net92", head=mean_max_head, **options)
