"""The parts that all networks share: input, preprocessing, classifier, pooling and features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cifar_zoo.checks import integer
from cifar_zoo.errors import CifarZooError
from cifar_zoo.lazy import Tensor, keras, layers
from cifar_zoo.models.blocks import CHANNELS_LAST, Stages, pooled_head


def normalize(x: Tensor) -> Tensor:
    """Standardize each channel by the mean and standard deviation of CIFAR-10's training images.

    For images that do not have three channels, the averages of these over the channels are used.
    """
    import numpy as np

    from cifar_zoo.data.cifar10 import MEAN, STD

    mean, std = (MEAN, STD) if x.shape[-1] == 3 else (np.mean(MEAN), np.mean(STD))
    return layers.Normalization(mean=mean, variance=np.square(std), dtype="float32", name="preprocessing")(x)


@dataclass(frozen=True)
class Architecture:
    """The architecture of a network, as returned by the functions registered with `cifar_zoo.register_model`.

    Attributes:
        trunk: Function from the preprocessed images (batch, height, width, channels) to the feature map at the end of
            each stage, `{"stage1": ..., "stage2": ...}`. The last one is the input of the head.
        head: Function from that feature map and the number of classes to the logits (batch, classes). A layer called
            "classifier" must hold the weights that depend on the number of classes. Default: global average pooling
            and a dense layer.
        preprocess: Function from pixels 0..255 to the input of the trunk. Default: standardization by the mean and
            standard deviation of CIFAR-10's training images.
    """

    trunk: Callable[[Tensor], Stages]
    head: Callable[[Tensor, int], Tensor] = pooled_head
    preprocess: Callable[[Tensor], Tensor] = normalize

    def build(
        self,
        *,
        registered: str,
        include_top: bool,
        input_shape: Any,
        pooling: str | None,
        classes: Any,
        classifier_activation: Any,
        include_preprocessing: bool,
        features: bool,
        name: str,
    ) -> keras.Model:
        """Build the network with random weights.

        Args:
            registered: The registered name of the network.
            include_top, input_shape, pooling, classes, classifier_activation, include_preprocessing, features, name:
                As in `cifar_zoo.registry.Constructor`.

        Returns: a `keras.Model`.

        Raises:
            CifarZooError: If a value cannot be used.
        """
        input_shape = _checked_shape(registered, input_shape)
        classes = integer(f"{registered}: classes", classes)
        _check_activation(registered, classifier_activation)
        _check_pooling(registered, pooling, features)

        inputs = keras.Input(input_shape, name="pixels")
        x = self.preprocess(inputs) if include_preprocessing else inputs
        include_top = include_top and not features
        try:
            stages = self.trunk(x)
            x = _last_map(registered, stages)
            if include_top:
                x = self.head(x, classes)
        except (
            ValueError
        ) as error:  # raised by Keras if a feature map becomes empty, or a dense layer has an input of unknown size
            raise CifarZooError(f"{registered} cannot be built for input_shape={input_shape}: {error}") from error
        outputs: Tensor | Stages = x
        if features:
            outputs = dict(stages)
        elif include_top and classifier_activation is not None:
            outputs = layers.Activation(classifier_activation, dtype="float32", name="predictions")(x)
        elif not include_top and pooling == "avg":
            outputs = layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="avg_pool")(x)
        elif not include_top and pooling == "max":
            outputs = layers.GlobalMaxPooling2D(data_format=CHANNELS_LAST, name="max_pool")(x)
        return keras.Model(inputs, outputs, name=name)


def _last_map(registered: str, stages: Stages) -> Tensor:
    if not isinstance(stages, dict) or not stages:
        raise TypeError(f'the trunk of {registered} must return its stages, {{"stage1": ...}}, not {stages!r}')
    return list(stages.values())[-1]


def _checked_shape(registered: str, input_shape: Any) -> tuple[int | None, ...]:
    try:
        height, width, channels = input_shape
        sides = (integer("side", side, or_none=True) for side in (height, width))
        return (*sides, integer("channels", channels))
    except (TypeError, ValueError):
        raise CifarZooError(
            f"{registered}: input_shape must be (height, width, channels), not {input_shape!r}"
        ) from None


def _check_activation(registered: str, classifier_activation: Any) -> None:
    try:
        keras.activations.get(classifier_activation)
    except ValueError as error:
        raise CifarZooError(
            f"{registered}: classifier_activation must be one of Keras' or None, not {classifier_activation!r}"
        ) from error


def _check_pooling(registered: str, pooling: str | None, features: bool) -> None:
    if features and pooling is not None:
        raise CifarZooError(f"{registered}: features=True gives feature maps; pooling must be None, not {pooling!r}")
    if pooling not in (None, "avg", "max"):
        raise CifarZooError(f"{registered}: pooling must be None, 'avg' or 'max', not {pooling!r}")
