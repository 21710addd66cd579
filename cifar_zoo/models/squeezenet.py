"""SqueezeNet with simple bypass (Iandola et al. 2016), narrowed for 32x32 images."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def conv(x, filters: int, size: int, name: str):
    """A convolution with bias and ReLU."""
    return zoo_layers.Conv2D(
        filters, size, padding="same", activation="relu", kernel_initializer="he_normal", name=name
    )(x)


def fire(x, squeeze: int, expand: tuple[int, int], name: str):
    """Squeeze to few channels with 1x1, expand with 1x1 and 3x3 side by side."""
    x = conv(x, squeeze, 1, f"{name}_squeeze")
    narrow, wide = conv(x, expand[0], 1, f"{name}_expand1"), conv(x, expand[1], 3, f"{name}_expand3")
    return layers.Concatenate(name=f"{name}_concat")([narrow, wide])


def conv_head(x, classes: int):
    """A 1x1 convolution to the classes, then global average pooling: the top of SqueezeNet and of NIN."""
    x = layers.Conv2D(classes, 1, kernel_initializer="he_normal", dtype="float32", name="classifier")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="classifier_pool")(x)


def dropout_conv_head(x, classes: int):
    """`conv_head` behind dropout."""
    return conv_head(layers.Dropout(0.5, name="head_dropout")(x), classes)


def trunk(x):
    """All but the dropout and the classifier."""
    x = conv(x, 64, 3, "stem")
    for number, widths in enumerate(((16, 16), (32, 32), (48, 48, 64, 64)), start=1):
        x = zoo_layers.MaxPooling2D(2, name=f"stage{number}_pool")(stage(x, number))
        for unit, width in enumerate(widths, start=1):
            name = f"stage{number}_fire{unit}"
            y = fire(x, width, (4 * width, 4 * width), name)
            x = layers.Add(name=f"{name}_add")([x, y]) if unit % 2 == 0 else y
    return stage(x, 4)


@register_model(paper="arXiv:1602.07360", params=727_626, rows=(PublishedRow(CNN_MODELS, "SqueezeNet", 88.41),))
def squeezenet(**options: Unpack[Options]) -> keras.Model:
    """SqueezeNet: eight fire modules, a bypass around every second, no batch norm, no ReLU on the class scores."""
    return assemble(trunk, "squeezenet", head=dropout_conv_head, **options)
