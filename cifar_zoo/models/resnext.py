"""ResNeXt (Xie et al. 2017) with pre-activation, and with squeeze-and-excitation, for 32x32 images.

The 3x3 convolutions are grouped convolutions. The original program has a parallel convolution for each group, with the
same weights.
"""

from __future__ import annotations

from functools import partial

from cifar_zoo.lazy import Tensor
from cifar_zoo.models.blocks import bn_act, conv, grouped_conv, preact_trunk, squeeze_excite
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model

WIDTHS = (128, 256, 512, 1024)


def grouped_bottleneck(
    x: Tensor, filters: int, strides: int, name: str, groups: int = 32, expansion: int = 2
) -> Tensor:
    """A branch of 1x1, grouped 3x3 and 1x1 convolutions. The last has `expansion` times the filters."""
    x = conv(bn_act(x, f"{name}_1"), filters, 1, 1, f"{name}_1", use_bias=False)
    x = grouped_conv(bn_act(x, f"{name}_2"), filters, 3, strides, f"{name}_2", groups=groups)
    return conv(bn_act(x, f"{name}_3"), expansion * filters, 1, 1, f"{name}_3")


resnext50_trunk = partial(preact_trunk, grouped_bottleneck, (3, 4, 6, 3), WIDTHS, stem_bias=False)


@register_model(
    paper="arXiv:1611.05431",
    params=23_072_330,
    trainable=23_011_658,
    rows=(PublishedRow(CNN_MODELS, "ResNeXt50", 95.43),),
)
def resnext50() -> Architecture:
    """ResNeXt-50 with pre-activation: 3-4-6-3 units of 32 groups, 256 to 2048 channels.

    The published number of parameters, 23.11 M, is 0.16 % more than that of the published program, which is built here.
    Several small changes would explain it (one more batch norm per unit and no biases, or 128 filters in the stem), but
    there is no evidence for any of them. With squeeze-and-excitation, the network of the program has the number of
    parameters published for SE-ResNeXt50.
    """
    return Architecture(resnext50_trunk())


@register_model(
    paper="arXiv:1709.01507",
    params=25_587_274,
    trainable=25_526_602,
    rows=(PublishedRow(CNN_MODELS, "SE-ResNeXt50", 96.12),),
)
def se_resnext50() -> Architecture:
    """resnext50 with squeeze-and-excitation on the branch of every unit."""
    return Architecture(resnext50_trunk(gate=squeeze_excite))


@register_model(
    paper="arXiv:1709.01507",
    params=567_950_186,
    trainable=567_375_594,
    rows=(PublishedRow(CNN_MODELS, "SENet154"),),
)
def senet154() -> Architecture:
    """SENet-154: 3-8-36-3 units of 64 groups with squeeze-and-excitation, 1024 to 8192 channels, 2.3 GB of weights.

    According to the published number of parameters, the network is four times as wide as in the paper, where it has 256
    to 2048 channels and a stem of three convolutions.
    """
    branch = partial(grouped_bottleneck, groups=64, expansion=4)
    widths = (256, 512, 1024, 2048)
    trunk = preact_trunk(branch, (3, 8, 36, 3), widths, stem=32, stem_bias=False, gate=squeeze_excite)
    return Architecture(trunk)
