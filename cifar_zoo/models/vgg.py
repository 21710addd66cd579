"""VGG (Simonyan and Zisserman 2014) with batch norm."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import Stages, bn_act, classifier, conv_bn_act, end_stage, flatten, max_pool
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def trunk(x: Tensor) -> Stages:
    """Thirteen convolutions in five stages with max-pooling between them."""
    stages: Stages = {}
    for number, (filters, units) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        if number > 1:
            x = max_pool(x, 2, 2, f"stage{number}_pool")
        for unit in range(1, units + 1):
            x = conv_bn_act(x, filters, 3, 1, f"stage{number}_{unit}", kernel_initializer="glorot_uniform")
        x = end_stage(x, stages)
    return stages


def head(x: Tensor, classes: int) -> Tensor:
    """The last pooling and three dense layers."""
    x = flatten(max_pool(x, 2, 2, "head_pool"))
    for number in (1, 2):
        x = bn_act(layers.Dense(4096, name=f"dense{number}")(x), f"dense{number}")
        x = layers.Dropout(0.5, name=f"dense{number}_dropout")(x)
    return classifier(x, classes)


@register_model(
    paper="arXiv:1409.1556", params=33_687_882, trainable=33_663_050, rows=(PublishedRow(CNN_MODELS, "VGG16", 92.34),)
)
def vgg16() -> Architecture:
    """VGG-16: thirteen 3x3 convolutions of 64 to 512 channels in five stages, two dense layers of 4096, batch norm.

    As in the original program, kernels have the Glorot initialization, the default of Keras.
    """
    return Architecture(trunk, head)
