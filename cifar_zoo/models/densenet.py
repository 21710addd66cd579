"""DenseNet-BC (Huang et al. 2017): every layer reads all maps before it and adds a few of its own."""

from __future__ import annotations

from typing import Unpack

from cifar_zoo.lazy import keras, layers
from cifar_zoo.models.build import assemble, stage
from cifar_zoo.models.preact_resnet import bn_act, conv
from cifar_zoo.registry import CNN_MODELS, Options, PublishedRow, register_model

PAPER = "arXiv:1608.06993"


def dense_layer(x, growth: int, name: str):
    """A bottleneck of 4 x growth channels and a 3x3 convolution, whose maps join those that came in."""
    y = conv(bn_act(x, f"{name}_1"), 4 * growth, 1, 1, f"{name}_1")
    y = conv(bn_act(y, f"{name}_2"), growth, 3, 1, f"{name}_2")
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def transition(x, filters: int, name: str):
    """A 1x1 convolution to fewer channels, then average pooling to half the size."""
    x = conv(bn_act(x, name), filters, 1, 1, name)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def trunk(units: tuple[int, ...], growth: int):
    """All but the classifier, for so many layers in each dense block.

    The paper's transitions halve the channels. Those of the networks this one stands for halve `grown`, the channels
    that there would be without earlier transitions, and so keep more than half from the second one on.
    """

    def apply(x):
        grown = 2 * growth
        x = bn_act(conv(x, grown, 3, 1, "stem"), "stem")
        for number, count in enumerate(units, start=1):
            if number > 1:
                x = transition(stage(x, number - 1), grown // 2, f"transition{number - 1}")
            for unit in range(1, count + 1):
                x = dense_layer(x, growth, f"stage{number}_unit{unit}")
            grown += count * growth
        return stage(bn_act(x, "final"), len(units))

    return apply


@register_model(
    paper=PAPER, params=3_314_218, trainable=3_262_474, rows=(PublishedRow(CNN_MODELS, "DenseNet100", 95.57),)
)
def densenet100(**options: Unpack[Options]) -> keras.Model:
    """DenseNet-BC of three blocks of 16 layers, growth rate 24.

    The transitions keep 216 of 432 and 408 of 600 channels, as in the program behind the published count. With the
    paper's compression to a half (216 and 300) there would be 3,074,998 parameters.
    """
    return assemble(trunk((16, 16, 16), 24), "densenet100", **options)


@register_model(
    paper=PAPER, params=7_936_202, trainable=7_842_826, rows=(PublishedRow(CNN_MODELS, "DenseNet121", 94.91),)
)
def densenet121(**options: Unpack[Options]) -> keras.Model:
    """DenseNet-121: blocks of 6, 12, 24 and 16 layers, growth rate 32, stem for 32x32.

    The transitions keep 128 of 256, 320 of 512 and 704 of 1088 channels, as in the program behind the published
    count. With the paper's compression to a half (128, 256 and 512) there would be 7,050,314 parameters.
    """
    return assemble(trunk((6, 12, 24, 16), 32), "densenet121", **options)
