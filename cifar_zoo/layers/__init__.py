"""Keras layers for convolutional networks and for image augmentation, usable in any Keras model."""

from cifar_zoo.layers.activation import Activation
from cifar_zoo.layers.alternating_flip import AlternatingFlip
from cifar_zoo.layers.batch_normalization import BatchNormalization
from cifar_zoo.layers.cbam import CBAM
from cifar_zoo.layers.channel_attention import ChannelAttention
from cifar_zoo.layers.channel_shuffle import ChannelShuffle
from cifar_zoo.layers.class_scores import ClassScores
from cifar_zoo.layers.conv2d import Conv2D
from cifar_zoo.layers.cutmix import CutMix
from cifar_zoo.layers.cutout import Cutout
from cifar_zoo.layers.depthwise_conv2d import DepthwiseConv2D
from cifar_zoo.layers.dirac import Dirac
from cifar_zoo.layers.fractal_join import DrawColumn, FractalJoin
from cifar_zoo.layers.grouped_conv2d import GroupedConv2D
from cifar_zoo.layers.local_response_normalization import LocalResponseNormalization
from cifar_zoo.layers.max_pooling2d import MaxPooling2D
from cifar_zoo.layers.mixup import Mixup, mix_targets
from cifar_zoo.layers.pad_channels import PadChannels
from cifar_zoo.layers.patch_whitening import PatchWhitening
from cifar_zoo.layers.per_image_standardization import PerImageStandardization
from cifar_zoo.layers.random_affine import RandomAffine
from cifar_zoo.layers.random_brightness import RandomBrightness
from cifar_zoo.layers.random_contrast import RandomContrast
from cifar_zoo.layers.random_crop import RandomCrop
from cifar_zoo.layers.random_flip import RandomFlip
from cifar_zoo.layers.selective_kernel import SelectiveKernel
from cifar_zoo.layers.shake_drop import ShakeDrop
from cifar_zoo.layers.shake_shake import ShakeShake
from cifar_zoo.layers.spatial_attention import SpatialAttention
from cifar_zoo.layers.split_channels import SplitChannels
from cifar_zoo.layers.squeeze_excite import SqueezeExcite
from cifar_zoo.layers.stochastic_depth import StochasticDepth, linear_decay
from cifar_zoo.layers.trivial_augment import TrivialAugmentWide

__all__ = [
    "CBAM",
    "Activation",
    "AlternatingFlip",
    "BatchNormalization",
    "ChannelAttention",
    "ChannelShuffle",
    "ClassScores",
    "Conv2D",
    "CutMix",
    "Cutout",
    "DepthwiseConv2D",
    "Dirac",
    "DrawColumn",
    "FractalJoin",
    "GroupedConv2D",
    "LocalResponseNormalization",
    "MaxPooling2D",
    "Mixup",
    "PadChannels",
    "PatchWhitening",
    "PerImageStandardization",
    "RandomAffine",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "SelectiveKernel",
    "ShakeDrop",
    "ShakeShake",
    "SpatialAttention",
    "SplitChannels",
    "SqueezeExcite",
    "StochasticDepth",
    "TrivialAugmentWide",
    "linear_decay",
    "mix_targets",
]
