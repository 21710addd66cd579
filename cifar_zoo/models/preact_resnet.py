"""Residual networks with pre-activation (He et al. 2016), widths of the ImageNet nets, stem for 32x32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model

PAPER = "arXiv:1603.05027"
RESNET50 = (3, 4, 6, 3)


def conv(x, filters: int, size: int, stride: int, name: str, bias: bool = True):
    """A convolution without an activation."""
    return zoo_layers.Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def bn_act(x, name: str, activation: str = "relu"):
    """Batch norm and activation."""
    x = zoo_layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return zoo_layers.Activation(activation, name=f"{name}_{activation}")(x)


def basic(x, filters: int, stride: int, name: str):
    """A branch of two 3x3 convolutions."""
    x = conv(bn_act(x, f"{name}_1"), filters, 3, stride, f"{name}_1")
    return conv(bn_act(x, f"{name}_2"), filters, 3, 1, f"{name}_2")


def bottleneck(x, filters: int, stride: int, name: str):
    """A branch of 1x1, 3x3 and 1x1 convolutions, the stride on the first, four times as wide at the end."""
    x = conv(bn_act(x, f"{name}_1"), filters, 1, stride, f"{name}_1")
    x = conv(bn_act(x, f"{name}_2"), filters, 3, 1, f"{name}_2")
    return conv(bn_act(x, f"{name}_3"), 4 * filters, 1, 1, f"{name}_3")


def trunk(
    branch: Callable,
    units: tuple[int, ...],
    widths: tuple[int, ...] = (64, 128, 256, 512),
    stem: int = 64,
    stem_bias: bool = True,
    activation: str = "relu",
    gate: Callable | None = None,
):
    """All but the classifier.

    Args:
        branch: the residual function of a unit, `branch(x, filters, stride, name)`.
        units: how many there are in each stage.
        widths: filters of each stage.
        stem: filters of the first convolution.
        stem_bias: whether it has a bias.
        activation: behind the stem and the last unit.
        gate: what acts on the branch of each unit, `gate(x, index, name)`.
    """

    def apply(x):
        x = bn_act(conv(x, stem, 3, 1, "stem", stem_bias), "stem", activation)
        index = 0
        for number, (count, filters) in enumerate(zip(units, widths, strict=True), start=1):
            if number > 1:
                x = stage(x, number - 1)
            for unit in range(1, count + 1):
                name = f"stage{number}_unit{unit}"
                stride = 2 if number > 1 and unit == 1 else 1
                y = branch(x, filters, stride, name)
                if gate is not None:
                    y = gate(y, index, name)
                if x.shape[-1] != y.shape[-1]:  # then the shortcut projects the raw input
                    x = conv(x, y.shape[-1], 1, stride, f"{name}_shortcut")
                x = layers.Add(name=f"{name}_add")([x, y])
                index += 1
        return stage(bn_act(x, "final", activation), len(units))

    return apply


def squeeze_excite(x, index: int, name: str):
    """Squeeze-and-excitation without biases."""
    return zoo_layers.SqueezeExcite(16, use_bias=False, name=f"{name}_se")(x)


def cbam(x, index: int, name: str):
    """Channel attention, then spatial attention."""
    return zoo_layers.CBAM(16, name=f"{name}_cbam")(x)


def drop_branch(x, index: int, name: str):
    """Leave the branch out of some images: never in the first unit, of nearly half of them in the last."""
    keep_probability = zoo_layers.linear_decay(index, sum(RESNET50))
    return zoo_layers.StochasticDepth(keep_probability, name=f"{name}_drop")(x)


@register_model(
    paper=PAPER, params=11_185_034, trainable=11_177_098, rows=(PublishedRow(CNN_MODELS, "ResNet18", 95.11),)
)
def resnet18(**options: Unpack[Options]) -> keras.Model:
    """ResNet-18 with pre-activation: 2-2-2-2 basic blocks of 64 to 512 channels, no max-pool in the stem."""
    return assemble(trunk(basic, (2, 2, 2, 2)), "resnet18", **options)


@register_model(
    paper=PAPER, params=23_585_418, trainable=23_539_850, rows=(PublishedRow(CNN_MODELS, "ResNet50", 94.55),)
)
def resnet50(**options: Unpack[Options]) -> keras.Model:
    """ResNet-50 with pre-activation: 3-4-6-3 bottlenecks of 256 to 2048 channels, no max-pool in the stem."""
    return assemble(trunk(bottleneck, RESNET50), "resnet50", **options)


@register_model(
    paper="arXiv:1603.09382",
    params=23_585_418,
    trainable=23_539_850,
    rows=(PublishedRow(CNN_MODELS, "StochasticDepth", 95.07),),
)
def stochastic_depth(**options: Unpack[Options]) -> keras.Model:
    """resnet50 with stochastic depth: unit i of 0..15 keeps its branch with probability 1 - i/32.

    Each image has its own draw at every step. The paper draws once a batch; the original program drew once when the
    network was traced.
    """
    return assemble(trunk(bottleneck, RESNET50, gate=drop_branch), "stochastic_depth", **options)


@register_model(
    paper="arXiv:1709.01507",
    params=26_100_362,
    trainable=26_054_794,
    rows=(PublishedRow(CNN_MODELS, "SE-ResNet50", 95.37),),
)
def se_resnet50(**options: Unpack[Options]) -> keras.Model:
    """resnet50 with squeeze-and-excitation on the branch of every unit."""
    return assemble(trunk(bottleneck, RESNET50, gate=squeeze_excite), "se_resnet50", **options)


@register_model(
    paper="arXiv:1807.06521",
    params=26_117_994,
    trainable=26_072_426,
    rows=(PublishedRow(CNN_MODELS, "CBAM-ResNet50", 95.01),),
)
def cbam_resnet50(**options: Unpack[Options]) -> keras.Model:
    """resnet50 with channel and spatial attention (CBAM) on the branch of every unit."""
    return assemble(trunk(bottleneck, RESNET50, gate=cbam), "cbam_resnet50", **options)
