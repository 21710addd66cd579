"""The networks of airbench (Jordan 2024), which learn CIFAR-10 in seconds on a GPU and in minutes on a CPU."""

from __future__ import annotations

from collections.abc import Callable

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import CHANNELS_LAST, Stages, act, batch_norm, classifier, conv, end_stage, max_pool
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import register_model

PAPER = "arXiv:2404.00498"


def dirac_conv(x: Tensor, filters: int, name: str) -> Tensor:
    """A 3x3 convolution with Dirac initialization, which copies its input at first."""
    return conv(x, filters, 3, 1, name, use_bias=False, kernel_initializer=zoo_layers.Dirac())


def norm(x: Tensor, name: str) -> Tensor:
    """Batch norm without a scale, with a low momentum of the moving statistics."""
    return batch_norm(x, name, epsilon=1e-5, momentum=0.6, scale=False)


def airbench_trunk(widths: tuple[int, int, int], deep: bool) -> Callable[[Tensor], Stages]:
    """Patch whitening, then three blocks with max-pooling after their first convolution.

    Args:
        widths: Filters of the blocks.
        deep: Boolean. Whether a block has three convolutions and a shortcut around the last two, instead of two
            convolutions and no shortcut.
    """

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = act(zoo_layers.PatchWhitening(name="whitening")(x), "whitening", "gelu")
        for number, filters in enumerate(widths, start=1):
            name = f"stage{number}"
            x = max_pool(dirac_conv(x, filters, f"{name}_1"), 2, 2, f"{name}_pool")
            x = shortcut = act(norm(x, f"{name}_1"), f"{name}_1", "gelu")
            x = norm(dirac_conv(x, filters, f"{name}_2"), f"{name}_2")
            if deep:
                x = norm(dirac_conv(act(x, f"{name}_2", "gelu"), filters, f"{name}_3"), f"{name}_3")
                x = layers.Add(name=f"{name}_add")([x, shortcut])
            x = end_stage(act(x, f"{name}_{3 if deep else 2}", "gelu"), stages)
        return stages

    return trunk


def scaled_head(x: Tensor, classes: int) -> Tensor:
    """Global max-pooling and a dense layer whose logits are multiplied by 1/9."""
    x = layers.GlobalMaxPooling2D(data_format=CHANNELS_LAST, name="head_pool")(x)
    x = classifier(x, classes, use_bias=False, kernel_initializer="lecun_uniform")
    return layers.Rescaling(1 / 9, dtype="float32", name="scale")(x)


@register_model(paper=PAPER, params=1_973_944, trainable=1_971_352)
def airbench94() -> Architecture:
    """Patch whitening and six convolutions of 64 to 256 channels: trains to 94 % in the shortest time."""
    return Architecture(airbench_trunk((64, 256, 256), deep=False), scaled_head)


@register_model(paper=PAPER, params=12_724_664, trainable=12_717_464)
def airbench96() -> Architecture:
    """Patch whitening and nine convolutions of 128 to 512 channels, with shortcuts: airbench for 96 %."""
    return Architecture(airbench_trunk((128, 512, 512), deep=True), scaled_head)
