"""What all networks share: input, preprocessing, classifier, pooling and weights."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from cifar_zoo.data.cifar10 import MEAN, STD
from cifar_zoo.errors import CifarZooError
from cifar_zoo.lazy import keras, layers
from cifar_zoo.registry import Options, model_info

DEFAULTS: dict[str, Any] = {
    "weights": None,
    "include_top": True,
    "input_shape": None,
    "pooling": None,
    "classes": 10,
    "classifier_activation": "softmax",
    "include_preprocessing": True,
    "features": False,
    "name": None,
}


def normalize(x):
    """Per-channel standardization with the statistics of CIFAR-10; other than three channels take their average."""
    mean, std = (MEAN, STD) if x.shape[-1] == 3 else (np.mean(MEAN), np.mean(STD))
    return layers.Normalization(mean=mean, variance=np.square(std), dtype="float32", name="preprocessing")(x)


def stage(x, number: int):
    """Mark the end of a stage: `features=True` gives what passes here as "stage<number>"."""
    return layers.Identity(name=f"stage{number}")(x)


def pooled_head(x, classes: int, dropout: float = 0.0):
    """Global average pooling, dropout where there is some, and one dense layer."""
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.Dense(classes, dtype="float32", name="classifier")(x)


def assemble(
    trunk: Callable,
    registered: str,
    /,
    *,
    head: Callable = pooled_head,
    preprocess: Callable = normalize,
    **options: Unpack[Options],
) -> keras.Model:
    """Build a network around its trunk.

    Args:
        trunk: from the normalized images (batch, height, width, channels) to the last feature map.
        registered: the name under which the constructor is registered.
        head: from the last feature map and the number of classes to the logits (batch, classes), by way of a layer
            "classifier" that holds all weights which depend on the number of classes.
        preprocess: from pixels 0..255 to the trunk's input.
        options: those of `cifar_zoo.registry.Options`.

    Raises:
        TypeError: for an option that does not exist.
        CifarZooError: for a value that cannot be used, or weights that do not exist or do not fit.
    """
    for key in options:
        if key not in DEFAULTS:
            near = difflib.get_close_matches(key, DEFAULTS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(DEFAULTS)}"
            raise TypeError(f"{registered}() has no option {key!r}; {hint}")
    opt = {**DEFAULTS, **options}
    opt["input_shape"] = opt["input_shape"] or model_info(registered).input_shape
    _check(registered, opt)

    inputs = keras.Input(opt["input_shape"], name="pixels")
    x = preprocess(inputs) if opt["include_preprocessing"] else inputs
    include_top = opt["include_top"] and not opt["features"]
    try:
        x = trunk(x)
        if include_top:
            x = head(x, opt["classes"])
    except ValueError as error:  # Keras', of a size that comes to nothing or of a dense layer on an unknown size
        raise CifarZooError(f"{registered} cannot be built for input_shape={opt['input_shape']}: {error}") from error
    if include_top:
        if opt["classifier_activation"] is not None:
            x = layers.Activation(opt["classifier_activation"], dtype="float32", name="predictions")(x)
    elif opt["features"]:
        x = {end.name: end.output for end in keras.Model(inputs, x).layers if re.fullmatch(r"stage\d+", end.name)}
        if not x:
            raise CifarZooError(
                f"{registered} marks no stages, which features=True gives; see cifar_zoo.models.build.stage"
            )
    elif opt["pooling"] == "avg":
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif opt["pooling"] == "max":
        x = layers.GlobalMaxPooling2D(name="max_pool")(x)
    model = keras.Model(inputs, x, name=opt["name"] or registered)
    if opt["weights"] is not None:
        from cifar_zoo.weights.store import load_pretrained

        load_pretrained(model, model_info(registered), opt["weights"])
    return model


def _check(registered: str, opt: dict[str, Any]) -> None:
    shape = opt["input_shape"]
    if (
        not isinstance(shape, (tuple, list))
        or len(shape) != 3
        or not all(n is None or (isinstance(n, int) and n > 0) for n in shape)
        or shape[-1] is None
    ):
        raise CifarZooError(f"{registered}: input_shape must be (height, width, channels), not {shape!r}")
    if not isinstance(opt["classes"], int) or opt["classes"] < 1:
        raise CifarZooError(f"{registered}: classes must be a positive integer, not {opt['classes']!r}")
    try:
        keras.activations.get(opt["classifier_activation"])
    except ValueError as error:
        raise CifarZooError(
            f"{registered}: classifier_activation must be one of Keras' or None, not {opt['classifier_activation']!r}"
        ) from error
    if opt["features"] and opt["pooling"] is not None:
        raise CifarZooError(
            f"{registered}: features=True gives feature maps; pooling must be None, not {opt['pooling']!r}"
        )
    if opt["pooling"] not in (None, "avg", "max"):
        raise CifarZooError(f"{registered}: pooling must be None, 'avg' or 'max', not {opt['pooling']!r}")
    if opt["weights"] is not None and shape[-1] != 3:
        raise CifarZooError(f"{registered}: the published weights are for 3 channels; use weights=None for {shape[-1]}")
