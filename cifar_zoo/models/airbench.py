"""The networks of airbench (Jordan 2024), which learn CIFAR-10 in seconds on a GPU and in minutes on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import Options, register_model

PAPER = "arXiv:2404.00498"


def conv(x, filters: int, name: str):
    """A 3x3 convolution that begins by passing its input on."""
    return zoo_layers.Conv2D(
        filters, 3, padding="same", use_bias=False, kernel_initializer=zoo_layers.Dirac(), name=f"{name}_conv"
    )(x)


def norm(x, name: str):
    """Batch norm without a scale, whose statistics forget fast."""
    return zoo_layers.BatchNormalization(momentum=0.6, scale=False, name=f"{name}_bn")(x)


def gelu(x, name: str):
    """The activation of all units."""
    return zoo_layers.Activation("gelu", name=f"{name}_gelu")(x)


def trunk(widths: tuple[int, int, int], deep: bool) -> Callable:
    """All but the classifier: whitening, then three blocks, each of which begins by halving the size.

    Args:
        widths: filters of the blocks.
        deep: whether a block has three convolutions and a shortcut around the last two, in place of two and none.
    """

    def apply(x):
        x = gelu(zoo_layers.PatchWhitening(name="whitening")(x), "whitening")
        for number, filters in enumerate(widths, start=1):
            name = f"stage{number}"
            x = zoo_layers.MaxPooling2D(2, name=f"{name}_pool")(conv(x, filters, f"{name}_1"))
            x = shortcut = gelu(norm(x, f"{name}_1"), f"{name}_1")
            x = norm(conv(x, filters, f"{name}_2"), f"{name}_2")
            if deep:
                x = norm(conv(gelu(x, f"{name}_2"), filters, f"{name}_3"), f"{name}_3")
                x = layers.Add(name=f"{name}_add")([x, shortcut])
            x = stage(gelu(x, f"{name}_{3 if deep else 2}"), number)
        return x

    return apply


def head(x, classes: int):
    """Global max-pooling and a dense layer, whose scores are made small for the start."""
    x = layers.GlobalMaxPooling2D(name="head_pool")(x)
    x = layers.Dense(classes, use_bias=False, kernel_initializer="lecun_uniform", dtype="float32", name="classifier")(x)
    return layers.Rescaling(1 / 9, dtype="float32", name="scale")(x)


@register_model(paper=PAPER, params=1_973_944, trainable=1_971_352)
def airbench94(**options: Unpack[Options]) -> keras.Model:
    """Six convolutions of 64 to 256 channels behind a whitening one: the quickest way to 94 %."""
    return assemble(trunk((64, 256, 256), deep=False), "airbench94", head=head, **options)


@register_model(paper=PAPER, params=12_724_664, trainable=12_717_464)
def airbench96(**options: Unpack[Options]) -> keras.Model:
    """Nine convolutions of 128 to 512 channels behind a whitening one, with shortcuts: airbench94 for 96 %."""
    return assemble(trunk((128, 512, 512), deep=True), "airbench96", head=head, **options)
