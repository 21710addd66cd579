"""The registry of networks: what each one is, where it comes from, and how to build it.

A network enters by the decorator on its constructor, and everything else (lists, tables, tests, model cards, the
command line) reads it here.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypedDict, Unpack

from cifar_zoo.errors import CifarZooError

if TYPE_CHECKING:
    import keras


CNN_MODELS = "https://github.com/dyfcalid/DeepLearning-CNN-Models"
TENSORSANDBOX = "https://github.com/kaizouman/tensorsandbox"
FLAX = "https://github.com/google/flax/tree/v0.1.0/examples/cifar10"
ALEXNET_NOTES = "a weblog of 2016 on AlexNet and its variants"


@dataclass(frozen=True)
class PublishedRow:
    """A row of a published table of results on CIFAR-10 that a network stands for.

    Attributes:
        table: where the table was published.
        name: of the network there.
        accuracy: on the test images in percent, None where the table has none.
    """

    table: str
    name: str
    accuracy: float | None = None


class Options(TypedDict, total=False):
    """The options of every network: the words of `keras.applications`, with the same meaning.

    weights: None (random), "cifar10" (the published weights), the tag of one training, or a path of a .weights.h5 file.
    include_top: whether the classifier is part of the network. Default True.
    input_shape: (height, width, channels). Default: the network's own.
    pooling: without the top, None (a feature map), "avg" or "max" (a vector).
    classes: number of classes. With weights of another number, the trunk is loaded and the classifier is new.
    classifier_activation: "softmax" by default; None returns the logits.
    include_preprocessing: whether pixels 0..255 are normalized inside the network. Default True.
    features: whether to give the outputs of the stages, {"stage1": ...}, without the top: a backbone. Default False.
    name: the name of the Keras model; it has no other meaning.
    """

    weights: str | None
    include_top: bool
    input_shape: tuple[int | None, int | None, int]
    pooling: str | None
    classes: int
    classifier_activation: str | None
    include_preprocessing: bool
    features: bool
    name: str


@dataclass(frozen=True)
class ModelInfo:
    """The facts about one network.

    Attributes:
        name: the registered name; weights are looked up by it.
        family: the module in `cifar_zoo.models` that holds it.
        summary: first line of the constructor's docstring.
        paper: where the architecture comes from.
        params: number of parameters with 10 classes at the default input, batch-norm statistics included.
        trainable: of these, the ones that training changes.
        input_shape: default (height, width, channels).
        rows: of published tables that the network stands for.
        build: the constructor.
    """

    name: str
    family: str
    summary: str
    paper: str
    params: int
    trainable: int
    input_shape: tuple[int, int, int]
    rows: tuple[PublishedRow, ...]
    build: Callable[..., keras.Model]


_registry: dict[str, ModelInfo] = {}


def register_model(
    *,
    paper: str,
    params: int,
    trainable: int | None = None,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    rows: tuple[PublishedRow, ...] = (),
) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Enter a constructor into the registry under its function's name.

    Args:
        paper: the source of the architecture.
        params: exact parameter count, batch-norm statistics included.
        trainable: exact count of trainable parameters; `params` where there is no batch norm.
        input_shape: default (height, width, channels).
        rows: of published tables that the network stands for.
    """

    def enter(build: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        name = build.__name__
        if name in _registry:
            raise ValueError(
                f"two networks are called {name!r}: {_registry[name].build.__module__}, {build.__module__}"
            )
        _registry[name] = ModelInfo(
            name=name,
            family=build.__module__.rsplit(".", 1)[-1],
            summary=(build.__doc__ or "").strip().splitlines()[0],
            paper=paper,
            params=params,
            trainable=params if trainable is None else trainable,
            input_shape=input_shape,
            rows=rows,
            build=build,
        )
        return build

    return enter


def _all() -> dict[str, ModelInfo]:
    importlib.import_module("cifar_zoo.models")  # running the model files fills the registry
    return _registry


def list_models(pattern: str = "*", *, weights: bool = False) -> list[str]:
    """Names of the networks, sorted, with numbers by their value.

    Args:
        pattern: a shell pattern, e.g. "resnet*".
        weights: only those with published weights.
    """
    names = sorted((name for name in _all() if fnmatchcase(name, pattern)), key=_natural)
    if weights:
        from cifar_zoo.weights.manifest import read_manifest

        manifest = read_manifest()
        names = [name for name in names if name in manifest]
    return names


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def model_info(name: str) -> ModelInfo:
    """The facts about one network. Raises CifarZooError, with the nearest names, where there is none so called."""
    models = _all()
    if name not in models:
        near = difflib.get_close_matches(str(name), models, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`cifar-zoo list` shows all names"
        raise CifarZooError(f"there is no network {name!r}; {hint}")
    return models[name]


def create_model(name: str, /, **options: Unpack[Options]) -> keras.Model:
    """Build a network by its registered name; `options` are those of `Options`."""
    return model_info(name).build(**options)
