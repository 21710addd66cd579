"""Network in network (Lin et al. 2013) with batch norm."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.inception import conv_bn_relu
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def trunk(x):
    """All but the last 1x1 convolution."""
    for number, (size, *widths) in enumerate(((5, 192, 160, 96), (5, 192, 192, 192), (3, 192, 192)), start=1):
        if number > 1:
            x = zoo_layers.MaxPooling2D(3, 2, padding="same", name=f"stage{number}_pool")(x)
            x = layers.Dropout(0.5, name=f"stage{number}_dropout")(x)
        for unit, filters in enumerate(widths, start=1):
            x = conv_bn_relu(x, filters, size if unit == 1 else 1, f"stage{number}_{unit}")
        x = stage(x, number)
    return x


def head(x, classes: int):
    """A 1x1 convolution to the classes, batch norm and global average pooling."""
    x = layers.Conv2D(classes, 1, kernel_initializer="he_normal", dtype="float32", name="classifier")(x)
    x = zoo_layers.BatchNormalization(epsilon=1e-3, dtype="float32", name="classifier_bn")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="classifier_pool")(x)


@register_model(
    paper="arXiv:1312.4400", params=972_658, trainable=969_822, rows=(PublishedRow(CNN_MODELS, "NIN", 90.38),)
)
def nin(**options: Unpack[Options]) -> keras.Model:
    """Network in network: three stages of one wide and two 1x1 convolutions with batch norm, dropout between.

    Unlike the original program's, the class scores pass no ReLU; their batch norm stays.
    """
    return assemble(trunk, "nin", head=head, **options)
