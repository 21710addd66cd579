"""Recipes: how a network is trained, as plain data."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cifar_zoo.errors import CifarZooError, shown

MAX_EPOCHS = 100_000


class Recipe(BaseModel):
    """One way of training a network. All values are plain, so that a recipe goes to JSON and back.

    A recipe cannot be changed; `with_` makes another one. `Recipe.model_json_schema()` is the JSON schema, with the
    meaning and the limits of every field. NumPy's numbers are stored as Python's, and lists as tuples. Booleans are not
    numbers, and a number is never given as a text.

    Raises:
        CifarZooError: for an unknown field, or a value that is not of the field's type or beyond its limits. The
            message names the field and the value.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    epochs: int = Field(default=60, gt=0, le=MAX_EPOCHS)
    """Number of passes over the training images. Each drops the images that do not fill a last batch."""
    batch_size: int = Field(default=128, gt=0, le=2**20)
    """Number of images in a step."""
    learning_rate: float = Field(default=0.1, gt=0, le=1e6)
    """Learning rate at the peak of the schedule."""
    schedule: Literal["cosine", "tanh", "piecewise", "constant", "triangular"] = "cosine"
    """Shape of the learning rate: "cosine" (to zero), "tanh" (hyperbolic-tangent decay, arXiv:1806.01593), "piecewise"
    (constant between `decay_epochs`), "constant", or "triangular" (a linear rise and a linear fall, arXiv:2404.00498;
    `warmup_epochs` is not used)."""
    decay_epochs: tuple[Annotated[float, Field(gt=0, le=MAX_EPOCHS)], ...] = ()
    """For "piecewise": the epochs, counted from 0, at which the learning rate changes. They rise."""
    decay_factors: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = ()
    """For "piecewise": from epoch `decay_epochs[i]` on, the learning rate is `decay_factors[i]` times the peak."""
    staircase: bool = False
    """Whether the learning rate changes only between epochs, instead of in every step."""
    warmup_epochs: float = Field(default=2.0, ge=0, le=MAX_EPOCHS)
    """Number of epochs of a linear warm-up at the start; at most a quarter of `epochs` is used."""
    warmup_start: float | None = Field(default=None, ge=0, le=1)
    """Fraction of the peak at which the warm-up begins. None: a warm-up of n steps begins at 1/n."""
    optimizer: Literal["sgd", "muon"] = "sgd"
    """"sgd", or "muon" for hidden kernels with SGD for all other weights."""
    bn_bias_lr_multiplier: float = Field(default=1.0, ge=1e-6, le=1e6)
    """Learning-rate multiplier of the biases of batch norm. If it is not 1, all parameters have the penalty `l2`, but
    these biases divide theirs by the multiplier, so that they decay no faster than the others (arXiv:2404.00498)."""
    whitening_bias_epochs: float | None = Field(default=None, gt=0, le=MAX_EPOCHS)
    """Epoch from which on the biases of whitening layers are not trained. None: they are trained to the end."""
    sgd_lr_multiplier: float = Field(default=1.0, gt=0, le=1e6)
    """For "muon": learning-rate multiplier of the weights that SGD updates."""
    fixed_norm: bool = False
    """For "muon": whether hidden kernels are scaled to the same norm after every step. They have no penalty then."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of the optimizer."""
    nesterov: bool = True
    """Whether the momentum is Nesterov's."""
    l2: float = Field(default=5e-4, ge=0, le=1e6)
    """Factor w of the penalty w / 2 * sum(kernel ** 2). Biases and batch norm have none."""
    dense_l2: float = Field(default=0.0, ge=0, le=1e6)
    """Factor w of a penalty w / 2 * mean(kernel ** 2) on each hidden dense layer, instead of `l2`. 0: none."""
    global_clipnorm: float | None = Field(default=None, gt=0, le=1e6)
    """Largest norm of the gradient of all weights together. None: the gradient is not clipped."""
    clipnorm: float | None = Field(default=None, gt=0, le=1e6)
    """Largest norm of the gradient of each variable, instead of `global_clipnorm`. None: it is not clipped."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout rate of all dropout layers. None: they keep their own."""
    sam: float = Field(default=0.0, ge=0, le=1e6)
    """Radius rho of sharpness-aware minimization (arXiv:2010.01412), which doubles the cost of a step. 0: none."""
    adaptive_sam: bool = False
    """Whether `sam` is the radius of adaptive sharpness-aware minimization (arXiv:2102.11600)."""
    sparsity: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the entries of all kernels, the smallest, that are zero in the end. It rises over the first half of
    the epochs, as in arXiv:1710.01878, and the other entries adapt. 0: none."""
    padding: int = Field(default=4, ge=0, le=1024)
    """Number of pixels that are added on each side of an image before the random crop."""
    padding_mode: Literal["reflect", "constant"] = "reflect"
    """What these pixels are: "reflect" (the image mirrored) or "constant" (the mean color)."""
    flip: bool = True
    """Whether images are flipped horizontally at random."""
    alternating_flip: bool = False
    """Whether the flip is random in the first epoch only, and every other epoch from then on (arXiv:2404.00498)."""
    rotation: float = Field(default=0.0, ge=0, le=360)
    """Largest rotation in degrees, drawn for each image."""
    shift: float = Field(default=0.0, ge=0, le=1)
    """Largest shift as a fraction of the image's side, drawn for each image."""
    shear: float = Field(default=0.0, ge=0, lt=90)
    """Largest shear in degrees, drawn for each image."""
    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of size as a fraction, drawn for each image."""
    trivial_augment: bool = False
    """Whether each image goes through one random operation of TrivialAugment (arXiv:2103.10158)."""
    brightness: float = Field(default=0.0, ge=0, le=255)
    """Largest number that is added to or subtracted from the pixels of an image, which are 0..255."""
    contrast: float = Field(default=0.0, ge=0, le=1)
    """Largest change of an image's contrast as a fraction: 0.8 for factors from 0.2 to 1.8."""
    cutout: int = Field(default=0, ge=0, le=1024)
    """Side of the square that is blanked out (arXiv:1708.04552), in pixels. 0: none."""
    mixup: float = Field(default=0.0, ge=0, le=1e6)
    """Parameter alpha of mixup (arXiv:1710.09412). 0: none."""
    cutmix: float = Field(default=0.0, ge=0, le=1e6)
    """Parameter alpha of CutMix (arXiv:1905.04899). 0: none. Not together with mixup."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the target that is spread over all classes."""
    class_weight: Literal["balanced"] | None = None
    """Weight of each class in the loss: "balanced" (the mean number of training images of a class, divided by that of
    the class, so that all classes count the same) or None (all images count the same)."""
    patience: int | None = Field(default=None, gt=0, le=MAX_EPOCHS)
    """Number of epochs in a row without a lower loss on the held-out images after which the training ends. The run ends
    with the weights of the epoch of the lowest loss. None: the training goes on to the last epoch."""
    ema_decay: float | None = Field(default=0.999, ge=0, lt=1)
    """Decay, in each step, of the exponential moving average of the weights, with which the run ends. None: the run
    ends with the weights of its last step."""
    lookahead: int = Field(default=0, ge=0, le=2**20)
    """Number of steps after which the weights go back to their average (arXiv:1907.08610). The average moves only then,
    and its decay rises to `ema_decay` with the third power of the progress. 0: none."""
    test_time_augmentation: bool = False
    """Whether the test images are also measured with test-time augmentation, beside the plain accuracy."""

    if not TYPE_CHECKING:  # type checkers and editors see the fields

        def __init__(self, **values: Any) -> None:
            with _in_one_line():
                super().__init__(**values)

        @classmethod
        def model_validate(cls, *arguments: Any, **options: Any) -> Recipe:
            with _in_one_line():
                return super().model_validate(*arguments, **options)

        @classmethod
        def model_validate_json(cls, *arguments: Any, **options: Any) -> Recipe:
            with _in_one_line():
                return super().model_validate_json(*arguments, **options)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """The same value with NumPy's numbers as Python's, and lists as tuples."""
        if isinstance(value, list | tuple):
            return tuple(cls._plain(item) for item in value)
        if getattr(value, "shape", None) == ():  # a NumPy scalar
            value = value.item()
        if isinstance(value, bool):
            return value
        try:
            return operator.index(value)
        except TypeError:
            return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        """Check what the fields say about each other."""

        def need(field: str, fits: bool, what: str) -> None:
            if not fits:
                raise CifarZooError(f"recipe: {field} must be {what}, not {shown(getattr(self, field))}")

        rises = all(later > earlier for earlier, later in pairwise((0.0, *self.decay_epochs)))
        need("decay_epochs", rises, "positive epochs that rise")
        piecewise = self.schedule == "piecewise"
        need("decay_epochs", bool(self.decay_epochs) == piecewise, "given for schedule='piecewise' and for no other")
        need("decay_factors", len(self.decay_factors) == len(self.decay_epochs), "as many as decay_epochs")
        need("bn_bias_lr_multiplier", self.bn_bias_lr_multiplier == 1 or not self.dense_l2, "1 where dense_l2 is not 0")
        need("fixed_norm", self.optimizer == "muon" or not self.fixed_norm, "False where optimizer is not 'muon'")
        need("dense_l2", not (self.l2 and self.dense_l2), "0 where l2 is not")
        both = self.clipnorm is not None and self.global_clipnorm is not None
        need("clipnorm", not both, "None where global_clipnorm is not")
        need("adaptive_sam", self.sam > 0 or not self.adaptive_sam, "False where sam is 0")
        need("alternating_flip", self.flip or not self.alternating_flip, "False where flip is False")
        need("cutmix", not (self.mixup and self.cutmix), "0 where mixup is not")
        need("lookahead", not self.lookahead or self.ema_decay is not None, "0 where ema_decay is None")
        need("patience", self.patience is None or self.ema_decay is None, "None where ema_decay is not")
        need("patience", self.patience is None or not self.sparsity, "None where sparsity is not 0")
        return self

    def with_(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed.

        Args:
            **changes: the fields and their new values.

        Raises:
            CifarZooError: as `Recipe` itself does.
        """
        return Recipe(**{**dict(self), **changes})

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """Return a copy with some fields changed by texts, as the option `--set` of the command line has them.

        Args:
            settings: texts such as "epochs=30", "flip=false", "dropout=none" or "decay_epochs=9,12".

        Raises:
            CifarZooError: for a text without "=", and as `Recipe` itself does.
        """
        changes: dict[str, Any] = {}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals:
                raise CifarZooError(f"a setting is written field=value, not {setting!r}")
            if isinstance(getattr(self, name, None), tuple):
                changes[name] = tuple(_parse(part) for part in text.split(",") if part)
            else:
                changes[name] = _parse(text)
        return self.with_(**changes)

    def for_epochs(self, epochs: int) -> Recipe:
        """Return the same recipe stretched to another number of epochs; `decay_epochs` move in proportion.

        Args:
            epochs: positive integer.

        Raises:
            CifarZooError: for a value that is not a number of epochs.
        """
        changed = self.with_(epochs=epochs)  # refuses what is no number of epochs
        if changed.epochs == self.epochs:
            return self
        return changed.with_(decay_epochs=tuple(epoch * changed.epochs / self.epochs for epoch in self.decay_epochs))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON has them: numbers, texts, booleans, None, and lists of numbers."""
        return self.model_dump(mode="json")


_WORDS = {"none": None, "true": True, "false": False}


def _parse(text: str) -> Any:
    """The value that a text stands for: None, a boolean, a number, or else the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Replace the error of pydantic by one of ours."""
    try:
        yield
    except ValidationError as error:
        raise CifarZooError("; ".join(map(_message, error.errors(include_url=False)))) from None


def _message(error: Any) -> str:
    """One line for an error of pydantic's."""
    if error["type"] == "value_error":  # already a line of ours
        return str(error["ctx"]["error"])
    if not error["loc"]:  # of the whole, not of a field
        return f"a recipe must be a JSON object or a dict of its fields, not {shown(error['input'])}"
    name, *index = error["loc"]
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Recipe.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(Recipe.model_fields)}"
        return f"a recipe has no field {name!r}; {hint}"
    wanted = error["msg"].removeprefix("Input should be ")
    if type(None) in get_args(Recipe.model_fields[name].annotation):
        wanted = f"None or {wanted}"
    position = "".join(f"[{number}]" for number in index)
    return f"recipe: {name}{position} must be {wanted}, not {shown(error['input'])}"
