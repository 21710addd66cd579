"""VGG (Simonyan and Zisserman 2014) with batch norm."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.preact_resnet import bn_act
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def trunk(x):
    """All but the last pooling and the dense layers."""
    for number, (filters, units) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        if number > 1:
            x = zoo_layers.MaxPooling2D(2, name=f"stage{number}_pool")(x)
        for unit in range(1, units + 1):
            name = f"stage{number}_{unit}"
            x = bn_act(zoo_layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x), name)
        x = stage(x, number)
    return x


def head(x, classes: int):
    """The last pooling and three dense layers."""
    x = zoo_layers.MaxPooling2D(2, name="head_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = bn_act(layers.Dense(4096, name=f"dense{number}")(x), f"dense{number}")
        x = layers.Dropout(0.5, name=f"dense{number}_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="classifier")(x)


@register_model(
    paper="arXiv:1409.1556", params=33_687_882, trainable=33_663_050, rows=(PublishedRow(CNN_MODELS, "VGG16", 92.34),)
)
def vgg16(**options: Unpack[Options]) -> keras.Model:
    """VGG-16: thirteen 3x3 convolutions of 64 to 512 channels in five stages, two dense layers of 4096, batch norm.

    Kernels are initialized after Glorot and Bengio 2010, the default of Keras, as in the original program.
    """
    return assemble(trunk, "vgg16", head=head, **options)
