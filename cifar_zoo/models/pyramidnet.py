"""Pyramidal residual networks (Han et al. 2017), whose width grows with every unit, without and with ShakeDrop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cifar_zoo.lazy import Tensor, layers
from cifar_zoo.models import blocks
from cifar_zoo.models.blocks import Stages, average_pool, end_stage, pooled_head
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, FLAX, PublishedRow, register_model


def widths110() -> list[int]:
    """Return the widths of 36 units, which grow from 16 by 200/36 per unit, rounded down."""
    return [16 + 200 * index // 36 for index in range(36)]


def widths272() -> list[int]:
    """Return the widths of 90 units, which start at 16 + 200/90 and grow by 200/90 per unit, rounded down.

    The sum is computed in floating point as in the original program, so units 9 and 18 have the widths 35 and 55, one
    less than the exact values.
    """
    widths, width = [], 16.0
    for _ in range(90):
        width += 200 / 90
        widths.append(int(width))
    return widths


def pyramid_trunk(
    widths: list[int],
    *,
    use_bias: bool,
    kernel_initializer: str,
    epsilon: float,
    stem_relu: bool = False,
    shake_drop: bool = False,
) -> Callable[[Tensor], Stages]:
    """Three stages of bottleneck units, each of which is wider than the one before.

    Args:
        widths: List of integers. Number of filters of each unit. The stages have the same number of units.
        use_bias: Boolean. Whether the convolutions have biases.
        kernel_initializer: String. Initializer of the convolutions.
        epsilon: Float. Epsilon of batch norm.
        stem_relu: Boolean. Whether a ReLU follows the stem.
        shake_drop: Boolean. Whether ShakeDrop is applied to the branches, with a probability that grows with the depth.
    """
    units = len(widths) // 3
    conv = partial(blocks.conv, use_bias=use_bias, kernel_initializer=kernel_initializer)
    batch_norm, bn_act = partial(blocks.batch_norm, epsilon=epsilon), partial(blocks.bn_act, epsilon=epsilon)

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = (bn_act if stem_relu else batch_norm)(conv(x, 16, 3, 1, "stem"), "stem")
        for index, width in enumerate(widths):
            number, unit = index // units + 1, index % units + 1
            name = f"stage{number}_unit{unit}"
            strides = 1
            if number > 1 and unit == 1:
                x = end_stage(x, stages)
                strides = 2
            y = conv(batch_norm(x, f"{name}_1"), width, 1, 1, f"{name}_1")
            y = conv(bn_act(y, f"{name}_2"), width, 3, strides, f"{name}_2")
            y = conv(bn_act(y, f"{name}_3"), 4 * width, 1, 1, f"{name}_3")
            y = batch_norm(y, f"{name}_4")
            if shake_drop:
                keep_probability = zoo_layers.linear_decay(index + 1, len(widths))
                y = zoo_layers.ShakeDrop(keep_probability, name=f"{name}_shake_drop")(y)
            if strides > 1:
                x = average_pool(x, 2, 2, f"{name}_shortcut_pool", padding="same")
            x = zoo_layers.PadChannels(4 * width, name=f"{name}_shortcut_pad")(x)
            # Keras traverses the graph recursively. Shortcuts come first to stay within the recursion limit.
            x = layers.Add(name=f"{name}_add")([x, y])
        end_stage(bn_act(x, "final"), stages)
        return stages

    return trunk


@register_model(
    paper="arXiv:1610.02915",
    params=9_900_626,
    trainable=9_819_362,
    rows=(PublishedRow(CNN_MODELS, "PyramidNet110", 95.65),),
)
def pyramidnet110() -> Architecture:
    """PyramidNet-110 with bottlenecks, alpha 200: 3 x 12 units, 64 to 840 channels.

    This is the network of the published number of parameters. Its widths are one step behind those of the paper, which
    go from 21 to 216 before the factor of four. The published program has other widths and another number of
    parameters.
    """
    return Architecture(
        pyramid_trunk(widths110(), use_bias=False, kernel_initializer="he_normal", epsilon=1e-3, stem_relu=True)
    )


@register_model(
    paper="arXiv:1802.02375",
    params=26_319_456,
    trainable=26_109_432,
    rows=(PublishedRow(FLAX, "PyramidNet Shake-drop", 96.75),),
)
def pyramidnet272_shake_drop() -> Architecture:
    """PyramidNet-272 with bottlenecks, alpha 200, and ShakeDrop: 3 x 30 units, 72 to 864 channels.

    Unit l of 1..90 keeps its branch with probability 1 - 0.5 l/90.
    """
    return Architecture(
        pyramid_trunk(widths272(), use_bias=True, kernel_initializer="lecun_normal", epsilon=1e-5, shake_drop=True),
        partial(pooled_head, kernel_initializer="lecun_normal"),
    )
