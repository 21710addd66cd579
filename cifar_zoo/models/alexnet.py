"""AlexNet (Krizhevsky et al. 2012) in the form of two later sources, for 32x32 images."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import ALEXNET_NOTES, CNN_MODELS, Options, PublishedRow, register_model

PAPER = "Krizhevsky et al. 2012"


def dense_head(units: tuple[int, ...], dropout: float, activation: str = "relu", initializer: str = "he_normal"):
    """A top of hidden dense layers of so many units."""

    def apply(x, classes: int):
        x = layers.Flatten(name="flatten")(x)
        for number, width in enumerate(units, start=1):
            name = f"dense{number}"
            x = layers.Dense(width, activation=activation, kernel_initializer=initializer, name=name)(x)
            if dropout:
                x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        return layers.Dense(classes, dtype="float32", name="classifier")(x)

    return apply


def small_kernel_trunk(x):
    """Convolutions of 3x3 only, unpadded where batch norm follows."""
    for number, filters in enumerate((96, 256), start=1):
        x = zoo_layers.Conv2D(filters, 3, name=f"conv{number}")(x)
        x = zoo_layers.BatchNormalization(epsilon=1e-3, name=f"conv{number}_bn")(x)
        x = stage(layers.ReLU(name=f"conv{number}_relu")(x), number)
        x = zoo_layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    for number, filters in enumerate((384, 384, 256), start=3):
        x = zoo_layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    return stage(x, 3)


def small_kernel_head(x, classes: int):
    """The last pooling and the dense layers."""
    x = zoo_layers.MaxPooling2D(3, 2, name="pool3")(x)
    return dense_head((2048, 2048), dropout=0.5, initializer="glorot_uniform")(x, classes)


def trunk(widths: tuple[int, ...], activation: str = "relu", initializer: str = "he_normal"):
    """The paper's kernels: 11x11 at stride 4, 5x5, and three of 3x3; normalization and pooling behind the first two."""

    def conv(x, size: int, number: int, strides: int = 1):
        return zoo_layers.Conv2D(
            widths[number - 1],
            size,
            strides,
            padding="same",
            activation=activation,
            kernel_initializer=initializer,
            name=f"conv{number}",
        )(x)

    def norm_pool(x, number: int):
        norm = zoo_layers.LocalResponseNormalization(2, 2.0, 1e-4, 0.75, name=f"norm{number}")
        x = stage(norm(x), number)
        return zoo_layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)

    def apply(x):
        x = norm_pool(conv(x, 11, 1, strides=4), 1)
        x = norm_pool(conv(x, 5, 2), 2)
        for number in (3, 4, 5):
            x = conv(x, 3, number)
        return stage(x, 3)

    return apply


@register_model(paper=PAPER, params=9_639_178, trainable=9_638_474, rows=(PublishedRow(CNN_MODELS, "AlexNet", 78.44),))
def alexnet(**options: Unpack[Options]) -> keras.Model:
    """AlexNet with 3x3 kernels only, batch norm for the local response normalization, and dense layers of 2048.

    The table's row mixes two networks: its parameters are those of this one, its accuracy was that of a network with
    an 11x11 stem and dense layers of 4096.
    Images are standardized per channel, not divided by 255; batch norm has momentum 0.9, not 0.99.
    """
    return assemble(small_kernel_trunk, "alexnet", head=small_kernel_head, **options)


@register_model(paper=PAPER, params=23_865_646, rows=(PublishedRow(ALEXNET_NOTES, "original-AlexNet"),))
def original_alexnet(**options: Unpack[Options]) -> keras.Model:
    """AlexNet with the paper's kernels, local response normalization and dense layers of 4096; no third pooling.

    On a 32x32 image the third pooling would leave one pixel; without it the dense layers see a map of 2x2.
    """
    x = trunk((100, 100, 384, 384, 256))
    return assemble(x, "original_alexnet", head=dense_head((4096, 4096), dropout=0.5), **options)


@register_model(paper=PAPER, params=23_865_646, rows=(PublishedRow(ALEXNET_NOTES, "tanh-AlexNet"),))
def tanh_alexnet(**options: Unpack[Options]) -> keras.Model:
    """original_alexnet with tanh for ReLU, and kernels initialized after Glorot and Bengio 2010 to go with it."""
    tanh = {"activation": "tanh", "initializer": "glorot_uniform"}
    x = trunk((100, 100, 384, 384, 256), **tanh)
    return assemble(x, "tanh_alexnet", head=dense_head((4096, 4096), dropout=0.5, **tanh), **options)


@register_model(paper=PAPER, params=2_939_146, rows=(PublishedRow(ALEXNET_NOTES, "small-AlexNet"),))
def small_alexnet(**options: Unpack[Options]) -> keras.Model:
    """original_alexnet with 64 and 192 channels in the first convolutions, dense layers of 384 and 192, no dropout."""
    x = trunk((64, 192, 384, 256, 256))
    return assemble(x, "small_alexnet", head=dense_head((384, 192), dropout=0.0), **options)
