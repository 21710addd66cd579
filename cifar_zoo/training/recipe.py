"""Recipes: how a network is trained, as plain data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

from cifar_zoo.errors import CifarZooError


@dataclass(frozen=True)
class Recipe:
    """One way of training. All values are plain, so that a recipe goes to JSON and back.

    Attributes:
        epochs: passes over the training images; an epoch drops what is left over from full batches.
        batch_size: images a step.
        learning_rate: rate at the peak.
        schedule: "cosine" (to zero), "tanh" (hyperbolic-tangent decay, arXiv:1806.01593), "piecewise" (constant between
            `decay_epochs`), "constant", or "triangular" (up and down in lines, arXiv:2404.00498; it has a warm-up of
            its own).
        decay_epochs, decay_factors: of "piecewise": from epoch `decay_epochs[i]` on, counted from 0, the rate is
            `decay_factors[i]` times the peak.
        staircase: whether the rate changes between epochs only, not in every step.
        warmup_epochs: epochs of a linear rise at the start, at most a quarter of `epochs`.
        warmup_start: None for a rise that begins with its first step's equal share, or the share of the peak with which
            it begins.
        optimizer: "sgd", or "muon" for hidden kernels and SGD for all else.
        bn_bias_lr_multiplier: the rate of batch norm's biases, in units of the rate. Where it is not 1 all parameters
            decay, at a pace of their rate times l2, but these biases no faster than the others (arXiv:2404.00498).
        whitening_bias_epochs: None, or the epoch from which on the bias of whitening layers stays as it is.
        sgd_lr_multiplier: of "muon": the rate of what goes by SGD, in units of the rate.
        fixed_norm: of "muon": whether hidden kernels have the same norm after every step; they have no penalty then.
        momentum, nesterov: of the optimizer.
        l2: the factor w of the papers' penalty w / 2 * sum(kernel ** 2); biases and batch norm are not penalized.
        dense_l2: in its place, the factor w of a penalty w / 2 * mean(kernel ** 2) on each hidden dense layer; 0 for
            none.
        global_clipnorm: None, or the largest norm of the whole gradient.
        clipnorm: None, or the largest norm of the gradient of each variable; not with `global_clipnorm`.
        dropout: None for the network's own rates, or that of all its dropout layers.
        sam: distance of sharpness-aware minimization (arXiv:2010.01412), which doubles the cost of a step; 0 for none.
        adaptive_sam: whether that distance counts in units of the weights (arXiv:2102.11600).
        padding: pixels around the image before the random crop.
        padding_mode: what they are, "reflect" (the image mirrored) or "constant" (the mean color).
        flip: whether images are mirrored at random.
        alternating_flip: whether that is so in the first epoch only, and every other epoch from then on
            (arXiv:2404.00498).
        rotation, shift, shear, zoom: largest rotation in degrees, shift as a share of the side, shear in degrees, and
            change of size as a share, drawn for each image.
        trivial_augment: one operation of TrivialAugment (arXiv:2103.10158) an image.
        brightness: the largest number that is added to an image's pixels, which are 0..255.
        contrast: the largest change of an image's contrast, as a share: 0.8 for factors from 0.2 to 1.8.
        cutout: side of the square that is blanked out, in pixels; 0 for none.
        mixup: alpha of mixup (arXiv:1710.09412), 0 for none.
        cutmix: alpha of CutMix (arXiv:1905.04899), 0 for none; not with mixup.
        label_smoothing: share of the target that is spread over all classes.
        ema_decay: None, or the decay, a step, of the average of the weights that the run ends with.
        lookahead: 0, or the number of steps after which the weights go back to their average (arXiv:1907.08610). The
            average moves only then, and its decay rises to `ema_decay` with the third power of the progress.
        test_time_augmentation: whether the test images are measured with it too, beside the plain figure.
    """

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "cosine"
    decay_epochs: tuple[float, ...] = ()
    decay_factors: tuple[float, ...] = ()
    staircase: bool = False
    warmup_epochs: float = 2.0
    warmup_start: float | None = None
    optimizer: str = "sgd"
    bn_bias_lr_multiplier: float = 1.0
    whitening_bias_epochs: float | None = None
    sgd_lr_multiplier: float = 1.0
    fixed_norm: bool = False
    momentum: float = 0.9
    nesterov: bool = True
    l2: float = 5e-4
    dense_l2: float = 0.0
    global_clipnorm: float | None = None
    clipnorm: float | None = None
    dropout: float | None = None
    sam: float = 0.0
    adaptive_sam: bool = False
    padding: int = 4
    padding_mode: str = "reflect"
    flip: bool = True
    alternating_flip: bool = False
    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    trivial_augment: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0
    ema_decay: float | None = 0.999
    lookahead: int = 0
    test_time_augmentation: bool = False

    def __post_init__(self) -> None:
        def need(field: str, fits: bool, what: str) -> None:
            if not fits:
                raise CifarZooError(f"recipe: {field} must be {what}, not {getattr(self, field)!r}")

        def one_of(field: str, *choices: str) -> None:
            need(field, getattr(self, field) in choices, " or ".join(map(repr, choices)))

        for field in fields(self):
            value, types = getattr(self, field.name), _TYPES[field.name]
            if tuple in types and isinstance(value, list):  # as JSON has it
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            right = isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
            need(field.name, right, " or ".join(kind.__name__ for kind in types).replace("NoneType", "None"))
            if isinstance(value, tuple):
                need(field.name, all(type(number) in (int, float) for number in value), "numbers")
        need("epochs", self.epochs > 0, "positive")
        need("batch_size", self.batch_size > 0, "positive")
        need("learning_rate", self.learning_rate > 0, "positive")
        one_of("schedule", "cosine", "tanh", "piecewise", "constant", "triangular")
        rises = all(later > earlier for earlier, later in pairwise((0, *self.decay_epochs)))
        need("decay_epochs", rises, "positive epochs that rise")
        piecewise = self.schedule == "piecewise"
        need("decay_epochs", bool(self.decay_epochs) == piecewise, "given for schedule='piecewise' and for no other")
        need("decay_factors", len(self.decay_factors) == len(self.decay_epochs), "as many as decay_epochs")
        need("decay_factors", all(factor >= 0 for factor in self.decay_factors), "0 or more")
        need("warmup_epochs", self.warmup_epochs >= 0, "0 or more")
        need("warmup_start", self.warmup_start is None or 0 <= self.warmup_start <= 1, "None or in [0, 1]")
        one_of("optimizer", "sgd", "muon")
        need("bn_bias_lr_multiplier", self.bn_bias_lr_multiplier > 0, "positive")
        need("bn_bias_lr_multiplier", self.bn_bias_lr_multiplier == 1 or not self.dense_l2, "1 where dense_l2 is not 0")
        need(
            "whitening_bias_epochs",
            self.whitening_bias_epochs is None or self.whitening_bias_epochs > 0,
            "None or positive",
        )
        need("sgd_lr_multiplier", self.sgd_lr_multiplier > 0, "positive")
        need("fixed_norm", self.optimizer == "muon" or not self.fixed_norm, "False where optimizer is not 'muon'")
        need("momentum", 0 <= self.momentum < 1, "in [0, 1)")
        need("l2", self.l2 >= 0, "0 or more")
        need("dense_l2", self.dense_l2 >= 0, "0 or more")
        need("dense_l2", not (self.l2 and self.dense_l2), "0 where l2 is not")
        need("global_clipnorm", self.global_clipnorm is None or self.global_clipnorm > 0, "None or positive")
        clip = self.clipnorm
        need("clipnorm", clip is None or clip > 0, "None or positive")
        need("clipnorm", clip is None or self.global_clipnorm is None, "None where global_clipnorm is not")
        need("dropout", self.dropout is None or 0 <= self.dropout < 1, "None or in [0, 1)")
        need("sam", self.sam >= 0, "0 or more")
        need("adaptive_sam", self.sam > 0 or not self.adaptive_sam, "False where sam is 0")
        need("padding", self.padding >= 0, "0 or more")
        one_of("padding_mode", "reflect", "constant")
        need("alternating_flip", self.flip or not self.alternating_flip, "False where flip is False")
        for name in ("rotation", "shift", "shear", "brightness", "cutout", "mixup", "cutmix"):
            need(name, getattr(self, name) >= 0, "0 or more")
        need("zoom", 0 <= self.zoom < 1, "in [0, 1)")
        need("contrast", 0 <= self.contrast <= 1, "in [0, 1]")
        need("cutmix", not (self.mixup and self.cutmix), "0 where mixup is not")
        need("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        need("ema_decay", self.ema_decay is None or 0 <= self.ema_decay < 1, "None or in [0, 1)")
        need("lookahead", self.lookahead >= 0, "0 or more")
        need("lookahead", not self.lookahead or self.ema_decay is not None, "0 where ema_decay is None")

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some fields changed. Raises CifarZooError for a field that does not exist."""
        for name in changes:
            if name not in _TYPES:
                near = difflib.get_close_matches(name, _TYPES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(_TYPES)}"
                raise CifarZooError(f"a recipe has no field {name!r}; {hint}")
        return replace(self, **changes)

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """A copy with some fields changed by texts: "epochs=30", "flip=false", "dropout=none", "decay_epochs=9,12".

        Raises CifarZooError for a field that does not exist, or a value that is not of its type.
        """
        changes: dict[str, Any] = {}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals:
                raise CifarZooError(f"a setting is written field=value, not {setting!r}")
            changes[name] = _parse(text, _TYPES.get(name, ()))
        return self.with_(**changes)

    def for_epochs(self, epochs: int) -> Recipe:
        """The same recipe stretched to another number of epochs: the changes of the rate move with it."""
        changed = self.with_(epochs=epochs)  # refuses what is no number of epochs
        moved = tuple(epoch * epochs / self.epochs for epoch in self.decay_epochs)
        return changed.with_(decay_epochs=moved) if epochs != self.epochs else changed

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


_TYPES: dict[str, tuple[type, ...]] = {
    field.name: {
        "int": (int,),
        "float": (float, int),
        "bool": (bool,),
        "str": (str,),
        "float | None": (float, int, type(None)),
        "tuple[float, ...]": (tuple,),
    }[str(field.type)]
    for field in fields(Recipe)
}


def _parse(text: str, types: tuple[type, ...]) -> Any:
    """What a text means for a field of these types; the text itself where it means none of them."""
    if text.lower() == "none" and type(None) in types:
        return None
    if bool in types:
        return {"true": True, "false": False}.get(text.lower(), text)
    if tuple in types:
        return tuple(_parse(part, (int, float)) for part in text.split(",") if part)
    for number in (int, float):
        if number in types:
            try:
                return number(text)
            except ValueError:
                continue
    return text
