"""Small networks for 24x24 images: the CNN of TensorFlow's CIFAR-10 tutorial, its variants, NIN and SqueezeNet.

All convolutions are 3x3 or 5x5 or 1x1 with bias and ReLU at stride 1; max-pooling is 3x3 at stride 2; images are
standardized one by one. Unlike the originals, the class scores of nin2 and squeeze1 pass no ReLU, and the kernels in
front of a ReLU are initialized after He et al. 2015.
"""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.squeezenet import conv, conv_head, fire
from cifar_zoo.registry import TENSORSANDBOX, Options, PublishedRow, register_model

ALEXNET = "Krizhevsky et al. 2012, after the CIFAR-10 tutorial of TensorFlow"
NIN = "arXiv:1312.4400"
SQUEEZENET = "arXiv:1602.07360"
SHAPE = (24, 24, 3)


def standardize(x):
    """Each image to mean 0 and deviation 1."""
    return zoo_layers.PerImageStandardization(dtype="float32", name="preprocessing")(x)


def chain(*steps: str):
    """A trunk from a list of steps: "c5-64" (a 5x5 convolution to 64), "pool", "norm", "drop"."""

    def apply(x):
        stages = 1
        for number, step in enumerate(steps, start=1):
            kind, _, filters = step.partition("-")
            name = f"{kind}_{number}"
            if kind == "pool":
                x = stage(x, stages)
                stages += 1
                x = zoo_layers.MaxPooling2D(3, 2, padding="same", name=name)(x)
            elif kind == "norm":
                x = zoo_layers.LocalResponseNormalization(4, 1.0, 0.001 / 9, 0.75, name=name)(x)
            elif kind == "drop":
                x = layers.Dropout(0.5, name=name)(x)
            else:
                x = conv(x, int(filters), int(kind[1:]), name)
        return stage(x, stages)

    return apply


def dense_head(*units: int):
    """A top of hidden dense layers of so many units."""

    def apply(x, classes: int):
        x = layers.Flatten(name="flatten")(x)
        for number, width in enumerate(units, start=1):
            x = layers.Dense(width, activation="relu", kernel_initializer="he_normal", name=f"dense_{number}")(x)
        return layers.Dense(classes, dtype="float32", name="classifier")(x)

    return apply


def fires(squeeze: int):
    """The trunk of squeeze0 and squeeze1, which differ in the first two squeezes."""

    def apply(x):
        x = stage(conv(x, 64, 3, "c3_1"), 1)
        x = zoo_layers.MaxPooling2D(3, 2, padding="same", name="pool_2")(x)
        x = fire(x, squeeze, (64, 64), "fire_1")
        x = stage(fire(x, squeeze, (64, 64), "fire_2"), 2)
        x = zoo_layers.MaxPooling2D(3, 2, padding="same", name="fire_pool")(x)
        x = fire(x, 32, (128, 128), "fire_3")
        return stage(fire(x, 32, (128, 128), "fire_4"), 3)

    return apply


@register_model(paper=ALEXNET, params=1_068_298, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Tuto", 87.2),))
def tuto(**options: Unpack[Options]) -> keras.Model:
    """The tutorial's CNN: two 5x5 convolutions with local response normalization, three dense layers."""
    trunk = chain("c5-64", "pool", "norm", "c5-64", "norm", "pool")
    return assemble(trunk, "tuto", head=dense_head(384, 192), preprocess=standardize, **options)


@register_model(paper=ALEXNET, params=1_463_594, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 0", 86.6),))
def alex0(**options: Unpack[Options]) -> keras.Model:
    """tuto with 96 filters of 3x3 in the second convolution."""
    trunk = chain("c5-64", "pool", "norm", "c3-96", "norm", "pool")
    return assemble(trunk, "alex0", head=dense_head(384, 192), preprocess=standardize, **options)


@register_model(paper=ALEXNET, params=322_506, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 1", 85.9),))
def alex1(**options: Unpack[Options]) -> keras.Model:
    """tuto with a third convolution in place of the first dense layer."""
    trunk = chain("c5-64", "pool", "norm", "c5-64", "norm", "pool", "c5-64", "norm", "pool")
    return assemble(trunk, "alex1", head=dense_head(192), preprocess=standardize, **options)


@register_model(paper=ALEXNET, params=1_068_298, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 2", 86.1),))
def alex2(**options: Unpack[Options]) -> keras.Model:
    """tuto without local response normalization."""
    trunk = chain("c5-64", "pool", "c5-64", "pool")
    return assemble(trunk, "alex2", head=dense_head(384, 192), preprocess=standardize, **options)


@register_model(paper=ALEXNET, params=996_298, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 3", 85.5),))
def alex3(**options: Unpack[Options]) -> keras.Model:
    """tuto without its second dense layer."""
    trunk = chain("c5-64", "pool", "norm", "c5-64", "norm", "pool")
    return assemble(trunk, "alex3", head=dense_head(384), preprocess=standardize, **options)


@register_model(paper=ALEXNET, params=1_493_674, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "Alex 4", 87.5),))
def alex4(**options: Unpack[Options]) -> keras.Model:
    """96 filters of 5x5 and 96 of 3x3, no normalization, three dense layers."""
    trunk = chain("c5-96", "pool", "c3-96", "pool")
    return assemble(trunk, "alex4", head=dense_head(384, 192), preprocess=standardize, **options)


@register_model(paper=NIN, params=120_458, input_shape=SHAPE)
def nin0(**options: Unpack[Options]) -> keras.Model:
    """A network in network of two small stages, 64 channels."""
    trunk = chain("c5-64", "c1-64", "c1-64", "pool", "c5-64", "c1-64")
    return assemble(trunk, "nin0", head=conv_head, preprocess=standardize, **options)


@register_model(paper=NIN, params=178_890, input_shape=SHAPE)
def nin1(**options: Unpack[Options]) -> keras.Model:
    """nin0 with 96 channels in the 1x1 convolutions of the first stage."""
    trunk = chain("c5-64", "c1-96", "c1-96", "pool", "c5-64", "c1-64")
    return assemble(trunk, "nin1", head=conv_head, preprocess=standardize, **options)


@register_model(paper=NIN, params=966_986, input_shape=SHAPE, rows=(PublishedRow(TENSORSANDBOX, "NiN (nin2)", 89.8),))
def nin2(**options: Unpack[Options]) -> keras.Model:
    """The network in network of the paper: three stages of one wide and two 1x1 convolutions, dropout between."""
    trunk = chain(
        "c5-192", "c1-160", "c1-96", "pool", "drop", "c5-192", "c1-192", "c1-192", "pool", "drop", "c3-192", "c1-192"
    )
    return assemble(trunk, "nin2", head=conv_head, preprocess=standardize, **options)


@register_model(paper=SQUEEZENET, params=122_986, input_shape=SHAPE)
def squeeze0(**options: Unpack[Options]) -> keras.Model:
    """squeeze1 with 16 channels in the first two squeezes."""
    return assemble(fires(16), "squeeze0", head=conv_head, preprocess=standardize, **options)


@register_model(
    paper=SQUEEZENET,
    params=146_570,
    input_shape=SHAPE,
    rows=(PublishedRow(TENSORSANDBOX, "SqueezeNet (squeeze1)", 87.8),),
)
def squeeze1(**options: Unpack[Options]) -> keras.Model:
    """A SqueezeNet of four fire modules: 147 k parameters."""
    return assemble(fires(32), "squeeze1", head=conv_head, preprocess=standardize, **options)
