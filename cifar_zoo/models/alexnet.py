"""AlexNet (Krizhevsky et al. 2012) for 32x32 images, in the variants of two later sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cifar_zoo.lazy import Tensor
from cifar_zoo.models.blocks import Stages, bn_act, conv_act, dense_head, end_stage, max_pool
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import ALEXNET_NOTES, CNN_MODELS, PublishedRow, register_model

PAPER = "Krizhevsky et al. 2012"


def small_kernel_trunk(x: Tensor) -> Stages:
    """3x3 convolutions, without padding if followed by batch norm."""
    stages: Stages = {}
    for number, filters in enumerate((96, 256), start=1):
        name = f"conv{number}"
        x = conv_act(x, filters, 3, 1, name, activation=None, padding="valid", kernel_initializer="glorot_uniform")
        x = end_stage(bn_act(x, name), stages)
        x = max_pool(x, 3, 2, f"pool{number}")
    for number, filters in enumerate((384, 384, 256), start=3):
        x = conv_act(x, filters, 3, 1, f"conv{number}", kernel_initializer="glorot_uniform")
    end_stage(x, stages)
    return stages


def small_kernel_head(x: Tensor, classes: int) -> Tensor:
    """The last pooling and the dense layers."""
    x = max_pool(x, 3, 2, "pool3")
    return dense_head(x, classes, units=(2048, 2048), dropout=0.5, kernel_initializer="glorot_uniform")


def alexnet_trunk(
    widths: tuple[int, ...], activation: str = "relu", kernel_initializer: str = "he_normal"
) -> Callable[[Tensor], Stages]:
    """The paper's kernels: 11x11 at stride 4, 5x5 and three of 3x3. Normalization and pooling follow the first two."""
    conv = partial(conv_act, activation=activation, kernel_initializer=kernel_initializer)

    def norm_pool(x: Tensor, number: int, stages: Stages) -> Tensor:
        norm = zoo_layers.LocalResponseNormalization(2, 2.0, 1e-4, 0.75, name=f"norm{number}")
        return max_pool(end_stage(norm(x), stages), 3, 2, f"pool{number}", padding="same")

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = norm_pool(conv(x, widths[0], 11, 4, "conv1"), 1, stages)
        x = norm_pool(conv(x, widths[1], 5, 1, "conv2"), 2, stages)
        for number, filters in enumerate(widths[2:], start=3):
            x = conv(x, filters, 3, 1, f"conv{number}")
        end_stage(x, stages)
        return stages

    return trunk


@register_model(paper=PAPER, params=9_639_178, trainable=9_638_474, rows=(PublishedRow(CNN_MODELS, "AlexNet", 78.44),))
def alexnet() -> Architecture:
    """AlexNet with 3x3 kernels, batch norm instead of local response normalization, and dense layers of 2048 units.

    The published row mixes two networks: its number of parameters is that of this network, but its accuracy is that of
    a network with an 11x11 stem and dense layers of 4096 units.
    Images are standardized per channel instead of divided by 255, and the momentum of batch norm is 0.9, not 0.99.
    """
    return Architecture(small_kernel_trunk, small_kernel_head)


@register_model(paper=PAPER, params=23_865_646, rows=(PublishedRow(ALEXNET_NOTES, "original-AlexNet"),))
def original_alexnet() -> Architecture:
    """AlexNet with the paper's kernels, local response normalization and dense layers of 4096, without a third pooling.

    On a 32x32 image, a third pooling would leave one pixel. Without it, the input of the dense layers is a 2x2 map.
    """
    head = partial(dense_head, units=(4096, 4096), dropout=0.5)
    return Architecture(alexnet_trunk((100, 100, 384, 384, 256)), head)


@register_model(paper=PAPER, params=23_865_646, rows=(PublishedRow(ALEXNET_NOTES, "tanh-AlexNet"),))
def tanh_alexnet() -> Architecture:
    """original_alexnet with tanh instead of ReLU, and Glorot initialization of the kernels."""
    trunk = alexnet_trunk((100, 100, 384, 384, 256), "tanh", "glorot_uniform")
    head = partial(dense_head, units=(4096, 4096), dropout=0.5, activation="tanh", kernel_initializer="glorot_uniform")
    return Architecture(trunk, head)


@register_model(paper=PAPER, params=2_939_146, rows=(PublishedRow(ALEXNET_NOTES, "small-AlexNet"),))
def small_alexnet() -> Architecture:
    """original_alexnet with 64 and 192 channels in the first convolutions, dense layers of 384 and 192, no dropout."""
    return Architecture(alexnet_trunk((64, 192, 384, 256, 256)), partial(dense_head, units=(384, 192)))
