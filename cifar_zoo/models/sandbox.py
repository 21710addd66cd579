"""Small networks for 24x24 images: the CNN of TensorFlow's CIFAR-10 tutorial, its variants, NIN and SqueezeNet.

All convolutions are 1x1, 3x3 or 5x5 with bias and ReLU at stride 1, and max-pooling is 3x3 at stride 2. Each image is
standardized separately. Unlike in the originals, there is no ReLU on the class scores of nin2 and squeeze1, and kernels
before a ReLU have the He initialization.
"""

from __future__ import annotations

from collections.abc import Callable

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models import blocks
from cifar_zoo.models.blocks import Stages, conv_act, conv_head, end_stage, fire, max_pool
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import TENSORSANDBOX, PublishedRow, register_model

ALEXNET = "Krizhevsky et al. 2012, after the CIFAR-10 tutorial of TensorFlow"
NIN = "arXiv:1312.4400"
SQUEEZENET = "arXiv:1602.07360"
SHAPE = (24, 24, 3)


def standardize(x: Tensor) -> Tensor:
    """Standardize each image to mean 0 and standard deviation 1."""
    return zoo_layers.PerImageStandardization(dtype="float32", name="preprocessing")(x)


def chain(*steps: str) -> Callable[[Tensor], Stages]:
    """A trunk from a list of steps: "c5-64" (a 5x5 convolution with 64 filters), "pool", "norm" or "drop"."""

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        for number, step in enumerate(steps, start=1):
            kind, _, filters = step.partition("-")
            name = f"{kind}_{number}"
            if kind == "pool":
                x = max_pool(end_stage(x, stages), 3, 2, name, padding="same")
            elif kind == "norm":
                x = zoo_layers.LocalResponseNormalization(4, 1.0, 0.001 / 9, 0.75, name=name)(x)
            elif kind == "drop":
                x = layers.Dropout(0.5, name=name)(x)
            else:
                x = conv_act(x, int(filters), int(kind[1:]), 1, name)
        end_stage(x, stages)
        return stages

    return trunk


def dense_head(*units: int) -> Callable[[Tensor, int], Tensor]:
    """A head with hidden dense layers."""
    return lambda x, classes: blocks.dense_head(x, classes, units=units, name="dense_")


def fires(squeeze: int) -> Callable[[Tensor], Stages]:
    """The trunk of squeeze0 and squeeze1, which differ in the first two squeezes."""

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = end_stage(conv_act(x, 64, 3, 1, "c3_1"), stages)
        x = max_pool(x, 3, 2, "pool_2", padding="same")
        x = fire(x, squeeze, 64, "fire_1")
        x = end_stage(fire(x, squeeze, 64, "fire_2"), stages)
        x = max_pool(x, 3, 2, "fire_pool", padding="same")
        x = fire(x, 32, 128, "fire_3")
        end_stage(fire(x, 32, 128, "fire_4"), stages)
        return stages

    return trunk


@register_model(paper=ALEXNET, params=1_068_298, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Tuto", 87.2),))
def tuto() -> Architecture:
    """The tutorial's CNN: two 5x5 convolutions with local response normalization, three dense layers."""
    trunk = chain("c5-64", "pool", "norm", "c5-64", "norm", "pool")
    return Architecture(trunk, dense_head(384, 192), standardize)


@register_model(paper=ALEXNET, params=1_463_594, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 0", 86.6),))
def alex0() -> Architecture:
    """tuto with 96 filters of 3x3 in the second convolution."""
    trunk = chain("c5-64", "pool", "norm", "c3-96", "norm", "pool")
    return Architecture(trunk, dense_head(384, 192), standardize)


@register_model(paper=ALEXNET, params=322_506, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 1", 85.9),))
def alex1() -> Architecture:
    """tuto with a third convolution instead of the first dense layer."""
    trunk = chain("c5-64", "pool", "norm", "c5-64", "norm", "pool", "c5-64", "norm", "pool")
    return Architecture(trunk, dense_head(192), standardize)


@register_model(paper=ALEXNET, params=1_068_298, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 2", 86.1),))
def alex2() -> Architecture:
    """tuto without local response normalization."""
    trunk = chain("c5-64", "pool", "c5-64", "pool")
    return Architecture(trunk, dense_head(384, 192), standardize)


@register_model(paper=ALEXNET, params=996_298, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 3", 85.5),))
def alex3() -> Architecture:
    """tuto without its second dense layer."""
    trunk = chain("c5-64", "pool", "norm", "c5-64", "norm", "pool")
    return Architecture(trunk, dense_head(384), standardize)


@register_model(paper=ALEXNET, params=1_493_674, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 4", 87.5),))
def alex4() -> Architecture:
    """96 filters of 5x5 and 96 of 3x3, no normalization, three dense layers."""
    trunk = chain("c5-96", "pool", "c3-96", "pool")
    return Architecture(trunk, dense_head(384, 192), standardize)


@register_model(paper=NIN, params=120_458, input_shape=SHAPE)
def nin0() -> Architecture:
    """A network in network of two small stages, 64 channels."""
    trunk = chain("c5-64", "c1-64", "c1-64", "pool", "c5-64", "c1-64")
    return Architecture(trunk, conv_head, standardize)


@register_model(paper=NIN, params=178_890, input_shape=SHAPE)
def nin1() -> Architecture:
    """nin0 with 96 channels in the 1x1 convolutions of the first stage."""
    trunk = chain("c5-64", "c1-96", "c1-96", "pool", "c5-64", "c1-64")
    return Architecture(trunk, conv_head, standardize)


@register_model(paper=NIN, params=966_986, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "NiN (nin2)", 89.8),))
def nin2() -> Architecture:
    """The network in network of the paper: three stages of one wide and two 1x1 convolutions, dropout between."""
    trunk = chain(
        "c5-192", "c1-160", "c1-96", "pool", "drop", "c5-192", "c1-192", "c1-192", "pool", "drop", "c3-192", "c1-192"
    )
    return Architecture(trunk, conv_head, standardize)


@register_model(paper=SQUEEZENET, params=122_986, input_shape=SHAPE)
def squeeze0() -> Architecture:
    """squeeze1 with 16 channels in the first two squeezes."""
    return Architecture(fires(16), conv_head, standardize)


@register_model(
    paper=SQUEEZENET,
    params=146_570,
    input_shape=SHAPE,
    rows=(PublishedRow(TENSORSANDBOX, "SqueezeNet (squeeze1)", 87.8),),
)
def squeeze1() -> Architecture:
    """A SqueezeNet of four fire modules: 147 k parameters."""
    return Architecture(fires(32), conv_head, standardize)
