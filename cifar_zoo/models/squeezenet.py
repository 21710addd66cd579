"""SqueezeNet with simple bypass (Iandola et al. 2016), narrowed for 32x32 images."""

from __future__ import annotations

from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models.blocks import Stages, conv_act, conv_head, end_stage, fire, max_pool
from cifar_zoo.models.build import Architecture
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def trunk(x: Tensor) -> Stages:
    """A 3x3 stem and eight fire modules."""
    stages: Stages = {}
    x = conv_act(x, 64, 3, 1, "stem")
    for number, widths in enumerate(((16, 16), (32, 32), (48, 48, 64, 64)), start=1):
        x = max_pool(end_stage(x, stages), 2, 2, f"stage{number}_pool")
        for unit, width in enumerate(widths, start=1):
            name = f"stage{number}_fire{unit}"
            y = fire(x, width, 4 * width, name)
            x = layers.Add(name=f"{name}_add")([x, y]) if unit % 2 == 0 else y
    end_stage(x, stages)
    return stages


@register_model(paper="arXiv:1602.07360", params=727_626, rows=(PublishedRow(CNN_MODELS, "SqueezeNet", 88.41),))
def squeezenet() -> Architecture:
    """SqueezeNet: eight fire modules with a bypass around every second, no batch norm, no ReLU on the class scores."""
    return Architecture(trunk, partial(conv_head, dropout=0.5))
