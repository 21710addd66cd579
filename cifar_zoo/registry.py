"""The registry of networks: what each one is, where it comes from, and how to build it.

A network enters by the decorator `register_model`. Lists, tables, tests, model cards and the command line read the
registry, so that nothing else has to be changed when a network is added. The registry knows neither how a network is
built nor where weights come from: `Architecture` and `WeightsProvider` say what it needs of each.
"""

import difflib
import functools
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack

from cifar_zoo.errors import CifarZooError
from cifar_zoo.lazy import uncollected

if TYPE_CHECKING:
    import keras

CNN_MODELS = "https://github.com/dyfcalid/DeepLearning-CNN-Models"
TENSORSANDBOX = "https://github.com/kaizouman/tensorsandbox"
FLAX = "https://github.com/google/flax/tree/v0.1.0/examples/cifar10"
ALEXNET_NOTES = "a weblog of 2016 on AlexNet and its variants"

InputShape = tuple[int | None, int | None, int]


class Constructor(Protocol):
    """What `register_model` makes: a function that builds one network, with the options of every network."""

    __name__: str
    __module__: str

    def __call__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        include_top: bool = True,
        input_shape: InputShape | None = None,
        pooling: Literal["avg", "max"] | None = None,
        classes: int = 10,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        include_preprocessing: bool = True,
        features: bool = False,
        name: str | None = None,
    ) -> "keras.Model":
        """Build the network.

        Args:
            weights: None, string or path. None for random weights, "cifar10" for the best published ones, the tag of
                one training, the path of a .weights.h5 file, or a repository of the hub, `hf://ORG/NAME[@REVISION]`.
            include_top: Boolean. Whether the network ends in its classifier.
            input_shape: Tuple (height, width, channels) of the images, channels last. The height and the width may be
                None where the network takes images of any size.
            pooling: None, "avg" or "max". Without the classifier, None returns feature maps (batch, height, width,
                channels), and "avg" or "max" pools them to vectors (batch, channels).
            classes: Positive integer. Number of classes. With weights for another number of classes, the trunk is
                loaded and the classifier is new.
            classifier_activation: String, function or None. Activation of the class scores; None returns the logits.
            include_preprocessing: Boolean. Whether the network takes pixels 0..255, uint8 or float, and normalizes
                them itself. Otherwise its inputs must be normalized already.
            features: Boolean. Whether to return the feature map at the end of each stage, `{"stage1": ..., "stage2":
                ...}`, in place of the class scores.
            name: String. Name of the Keras model. Weights are looked up by the registered name, whatever this is.

        Returns:
            A `keras.Model`. With the classifier its outputs are float32 (batch, classes).

        Raises:
            TypeError: If there is no such option.
            CifarZooError: If a value cannot be used, or the weights do not exist or do not fit.
        """
        ...


class Options(TypedDict, total=False):
    """The options of `Constructor`, for functions that pass them on."""

    weights: str | os.PathLike[str] | None
    include_top: bool
    input_shape: InputShape | None
    pooling: Literal["avg", "max"] | None
    classes: int
    classifier_activation: str | Callable[..., Any] | None
    include_preprocessing: bool
    features: bool
    name: str | None


class Architecture(Protocol):
    """What a registered function returns; `cifar_zoo.Architecture` is one."""

    @property
    def build(self) -> Callable[..., "keras.Model"]:
        """Builds the network from the options of `Constructor` without `weights`, and `registered`, its name."""


class WeightsProvider(Protocol):
    """Where pretrained weights come from."""

    def loadable_tags(self, name: str) -> list[str]:
        """The tags of the pretrained weights of a network that can be loaded here; empty if there are none."""

    def check_pretrained(self, name: str, weights: str | os.PathLike[str]) -> None:
        """Raise an error if a network has no such weights, before the network is built, which may take long."""

    def find_network(self, address: str) -> tuple[str, dict[str, Any]]:
        """The registered name and the options of the network in a repository of the hub, `hf://ORG/NAME`."""

    def load_pretrained(self, model: "keras.Model", spec: "ModelInfo", weights: str | os.PathLike[str]) -> None:
        """Load pretrained weights, "cifar10", a tag or a path, into a model built by `spec`."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of a published table of results on CIFAR-10 that a network reproduces.

    Attributes:
        table: Where the table was published.
        name: Name of the network in that table.
        accuracy: Test accuracy in percent, or None if the table has none.
    """

    table: str
    name: str
    accuracy: float | None = None


@dataclass(frozen=True)
class ModelInfo:
    """The facts about one network.

    Attributes:
        name: The registered name, by which weights are looked up.
        family: Name of the module that defines the network.
        summary: First line of the constructor's docstring.
        paper: Source of the architecture.
        params: Number of parameters with 10 classes at the default input shape, batch-norm statistics included, or
            None if it was not given.
        trainable: Number of trainable parameters, or None if it was not given.
        input_shape: Default (height, width, channels).
        rows: Rows of published tables that the network reproduces.
        build: The constructor.
    """

    name: str
    family: str
    summary: str
    paper: str
    params: int | None
    trainable: int | None
    input_shape: tuple[int, int, int]
    rows: tuple[PublishedRow, ...]
    build: Constructor


_registry: dict[str, ModelInfo] = {}
_weights: WeightsProvider | None = None


def set_weights_provider(provider: WeightsProvider) -> None:
    """Set where constructors find pretrained weights."""
    global _weights
    _weights = provider


def _weights_provider() -> WeightsProvider:
    if _weights is None:
        raise RuntimeError("no weights provider has been set; `import cifar_zoo` sets one")
    return _weights


def register_model(
    name: str | None = None,
    *,
    paper: str = "",
    params: int | None = None,
    trainable: int | None = None,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    rows: tuple[PublishedRow, ...] = (),
) -> Callable[[Callable[[], Architecture]], Constructor]:
    """Register a network: a decorator for a function that returns its architecture.

    The function becomes the constructor of the network, with the options of `Constructor`. Its docstring is completed
    by the description of these.

    Args:
        name: Name of the network. Default: the function's name.
        paper: Source of the architecture.
        params: Exact number of parameters, batch-norm statistics included. Optional.
        trainable: Exact number of trainable parameters. Default: `params`.
        input_shape: Default (height, width, channels) of the images.
        rows: Rows of published tables that the network reproduces.

    Raises:
        ValueError: If the name is taken.

    Example:
        >>> import cifar_zoo
        >>> from cifar_zoo.models import blocks
        >>> def trunk(x):
        ...     stages = {}
        ...     for number, filters in enumerate((16, 32), start=1):
        ...         x = blocks.conv_bn_act(x, filters, 3, number, f"conv{number}")
        ...         x = blocks.end_stage(x, stages)
        ...     return stages
        >>> @cifar_zoo.register_model()
        ... def tiny_net():
        ...     "Two convolutions."
        ...     return cifar_zoo.Architecture(trunk)
        >>> cifar_zoo.create_model("tiny_net", classes=5).output_shape
        (None, 5)
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}; use the decorator with parentheses: @register_model()")

    def register(architecture: Callable[[], Architecture]) -> Constructor:
        registered = name or architecture.__name__
        if registered in _registry:
            raise ValueError(
                f"two networks are called {registered!r}: the first is in {_registry[registered].build.__module__}, "
                f"the second in {architecture.__module__}"
            )
        _registry[registered] = ModelInfo(
            name=registered,
            family=architecture.__module__.rsplit(".", 1)[-1],
            summary=next(iter((architecture.__doc__ or "").strip().splitlines()), ""),
            paper=paper,
            params=params,
            trainable=params if trainable is None else trainable,
            input_shape=input_shape,
            rows=rows,
            build=_constructor(registered, architecture, input_shape, paper),
        )
        return _registry[registered].build

    return register


def _constructor(
    registered: str, architecture: Callable[[], Architecture], input_shape: tuple[int, int, int], paper: str
) -> Constructor:
    """Make the constructor: a function with the signature and the documentation of `Constructor`."""
    own_defaults = {"input_shape": input_shape, "name": registered}

    @functools.wraps(architecture)
    def constructor(**options: Any) -> "keras.Model":
        for option in options:
            if option not in signature.parameters:
                raise TypeError(f"{registered}() has no option {option!r}; {_hint(option, signature.parameters)}")
        arguments = {option: parameter.default for option, parameter in signature.parameters.items()} | options
        for option, default in own_defaults.items():  # an explicit None means the default, as in Keras
            if arguments[option] is None:
                arguments[option] = default
        weights = arguments.pop("weights")
        if weights is not None:
            _weights_provider().check_pretrained(registered, weights)
        with uncollected():
            model = architecture().build(registered=registered, **arguments)
        if weights is not None:
            _weights_provider().load_pretrained(model, _registry[registered], weights)
        return model

    _, *parameters = inspect.signature(Constructor.__call__).parameters.values()
    signature = inspect.Signature(
        [parameter.replace(default=own_defaults.get(parameter.name, parameter.default)) for parameter in parameters],
        return_annotation="keras.Model",
    )
    constructor.__signature__ = signature  # type: ignore[attr-defined]
    constructor.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    constructor.__annotations__["return"] = "keras.Model"
    if architecture.__doc__ and (shared := inspect.getdoc(Constructor.__call__)):  # python -OO leaves none
        details = shared.partition("\n\n")[2]
        reference = f"\n\nReference: {paper}" if paper else ""
        constructor.__doc__ = f"{inspect.cleandoc(architecture.__doc__)}\n\n{details}{reference}\n"
    return constructor


def _hint(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(known)}"


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of the networks, sorted, with numbers by their value.

    Args:
        pattern: Shell pattern of the names, for example "resnet*".
        pretrained: Whether to list only networks with pretrained weights that can be loaded here: those that are
            published, or whose file is in the installed package, the source checkout or the cache.

    Returns:
        A list of strings.
    """
    names = sorted((name for name in _registry if fnmatchcase(name, pattern)), key=_natural)
    return [name for name in names if _weights_provider().loadable_tags(name)] if pretrained else names


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def model_info(name: str) -> ModelInfo:
    """The facts about one network.

    Args:
        name: The registered name.

    Returns:
        A `ModelInfo`.

    Raises:
        CifarZooError: If no network has this name. The message names the nearest ones.
    """
    if name not in _registry:
        near = difflib.get_close_matches(str(name), _registry, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`cifar-zoo list` shows all names"
        raise CifarZooError(f"there is no network {name!r}; {hint}")
    return _registry[name]


def create_model(name: str, /, **options: Unpack[Options]) -> "keras.Model":
    """Build a network by its registered name, or load one from the Hugging Face hub.

    Args:
        name: The registered name, or the address `hf://ORG/NAME[@REVISION]` of a repository that
            `cifar_zoo.push_to_hub` made, whose network, options and weights are taken.
        **options: Those of every constructor, for example `cifar_zoo.models.resnet20`.

    Returns:
        A `keras.Model`.

    Raises:
        TypeError: If there is no such option.
        CifarZooError: If no network has this name, a value cannot be used, or the weights do not exist or do not fit.
    """
    if name.startswith("hf://"):
        address = name
        name, found = _weights_provider().find_network(address)
        if options.get("weights", "cifar10") == "cifar10":  # those of the repository
            options["weights"] = address
        return model_info(name).build(**{**found, **options})
    return model_info(name).build(**options)
