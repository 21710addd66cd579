"""Selective-kernel networks (Li et al. 2019) with pre-activation, for 32x32 images."""

from __future__ import annotations

from cifar_zoo.lazy import Tensor
from cifar_zoo.models.blocks import bn_act, conv, grouped_conv, preact_trunk
from cifar_zoo.models.build import Architecture
from cifar_zoo.models.lazy import zoo_layers
from cifar_zoo.registry import CNN_MODELS, PublishedRow, register_model


def grouped_conv_bn_act(x: Tensor, filters: int, kernel_size: int, strides: int, name: str, dilation: int) -> Tensor:
    """A convolution in 32 groups without bias, batch norm and ReLU."""
    x = grouped_conv(x, filters, kernel_size, strides, name, dilation_rate=dilation, use_bias=False)
    return bn_act(x, name)


def selective_branch(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    """A branch of a 1x1 convolution, a selection between a 3x3 and a 5x5 one, and a 1x1 one with twice the filters.

    The 5x5 kernel is a dilated 3x3 kernel, except at stride 2, for which Keras does not support dilation.
    """
    x = bn_act(conv(bn_act(x, f"{name}_1"), filters, 1, 1, f"{name}_1", use_bias=False), f"{name}_2")
    size, dilation = (5, 1) if strides > 1 else (3, 2)
    narrow = grouped_conv_bn_act(x, filters, 3, strides, f"{name}_narrow", dilation=1)
    wide = grouped_conv_bn_act(x, filters, size, strides, f"{name}_wide", dilation=dilation)
    x = zoo_layers.SelectiveKernel(16, min_units=32, name=f"{name}_sk")([narrow, wide])
    return conv(x, 2 * filters, 1, 1, f"{name}_3")


@register_model(
    paper="arXiv:1903.06586", params=6_726_986, trainable=6_687_946, rows=(PublishedRow(CNN_MODELS, "SKNet"),)
)
def sknet50() -> Architecture:
    """SKNet-50 with pre-activation, at half the paper's width: 3-4-6-3 units of 32 groups, 128 to 1024 channels.

    As in the paper, the softmax is over the two kernels for each channel. In the original program, it is over the
    channels for each kernel.
    """
    return Architecture(preact_trunk(selective_branch, (3, 4, 6, 3), stem_bias=False))
