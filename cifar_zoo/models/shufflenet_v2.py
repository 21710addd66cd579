"""ShuffleNet V2 (Ma et al. 2018): half of the channels pass each unit untouched, then all of them are shuffled."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.models.mobilenet_v3 import depthwise_bn
from cifar_zoo.models.preact_resnet import bn_act, conv
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model


def halves(x, name: str):
    """The first and the second half of the channels."""
    half = x.shape[-1] // 2
    # No layer of Keras slices channels; but cropping takes the last axis for the width when told "channels_first".
    return [
        layers.Cropping2D(((0, 0), crop), data_format="channels_first", name=f"{name}_{which}_half")(x)
        for which, crop in (("first", (0, half)), ("second", (half, 0)))
    ]


def conv_bn_relu(x, filters: int, name: str):
    """A 1x1 convolution without bias, batch norm and ReLU."""
    return bn_act(conv(x, filters, 1, 1, name, bias=False), name)


def unit(x, filters: int, stride: int, name: str):
    """Two branches of half of the channels each; at stride 2 both read all channels and neither is the identity."""
    half = filters // 2
    if stride == 1:
        x, other = halves(x, name)
    else:
        other = depthwise_bn(x, 3, 2, f"{name}_other_depthwise")
        other = conv_bn_relu(other, half, f"{name}_other_1")
    x = conv_bn_relu(x, half, f"{name}_1")
    x = depthwise_bn(x, 3, stride, f"{name}_depthwise")
    x = conv_bn_relu(x, half, f"{name}_2")
    x = layers.Concatenate(name=f"{name}_concat")([x, other])
    return zoo_layers.ChannelShuffle(2, name=f"{name}_shuffle")(x)


def trunk(x):
    """All but the classifier."""
    x = stage(bn_act(conv(x, 24, 3, 1, "stem", bias=False), "stem"), 1)
    for number, (filters, count) in enumerate(((116, 4), (232, 8), (464, 4)), start=2):
        if number > 2:
            x = stage(x, number - 1)
        for index in range(1, count + 1):
            x = unit(x, filters, 2 if index == 1 else 1, f"stage{number}_unit{index}")
    x = conv(x, 1024, 1, 1, "final", bias=False)
    return stage(layers.ReLU(name="final_relu")(x), 4)


@register_model(
    paper="arXiv:1807.11164",
    params=1_275_938,
    trainable=1_261_806,
    rows=(PublishedRow(CNN_MODELS, "ShuffleNetV2", 92.41),),
)
def shufflenet_v2(**options: Unpack[Options]) -> keras.Model:
    """ShuffleNet V2 1x, stem for 32x32.

    The original program shuffled channels across images in its units of stride 2; here an image keeps to itself.
    As in the paper, no ReLU follows a depthwise convolution; the original program had one in its units of stride 2.
    The last 1x1 convolution has a ReLU as in the paper, without which it and the classifier would be one linear map;
    the paper's batch norm between the two would be 4,096 more parameters.
    """
    return assemble(trunk, "shufflenet_v2", **options)
