"""Recipes: how a network is trained, as plain data."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from cifar_zoo.errors import CifarZooError


@dataclass(frozen=True)
class Recipe:
    """One way of training. All values are plain, so that a recipe goes to JSON and back.

    Attributes:
        epochs: passes over the training pictures; an epoch drops what is left over from full batches.
        batch_size: pictures a step.
        learning_rate: rate at the peak.
        schedule: "cosine" (to zero) or "tanh" (hyperbolic-tangent decay, arXiv:1806.01593).
        warmup_epochs: epochs of a linear rise at the start, at most a quarter of `epochs`.
        momentum, nesterov: of SGD.
        l2: the factor w of the papers' penalty w / 2 * sum(kernel ** 2); biases and batch norm are not penalised.
        clip_norm: None, or the largest norm of the whole gradient.
        padding: pixels of reflection around the picture before the random crop.
        flip: whether pictures are mirrored at random.
        cutout: side of the square that is blanked out, in pixels; 0 for none.
        label_smoothing: share of the target that is spread over all classes.
        average_decay: None, or the decay, a step, of the average of the weights that the run ends with.
    """

    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "cosine"
    warmup_epochs: float = 2.0
    momentum: float = 0.9
    nesterov: bool = True
    l2: float = 5e-4
    clip_norm: float | None = None
    padding: int = 4
    flip: bool = True
    cutout: int = 0
    label_smoothing: float = 0.0
    average_decay: float | None = 0.999

    def __post_init__(self) -> None:
        def need(field: str, fits: bool, what: str) -> None:
            if not fits:
                raise CifarZooError(f"recipe: {field} must be {what}, not {getattr(self, field)!r}")

        for field in fields(self):
            value, types = getattr(self, field.name), _TYPES[field.name]
            right = isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
            need(field.name, right, " or ".join(kind.__name__ for kind in types).replace("NoneType", "None"))
        need("epochs", self.epochs > 0, "positive")
        need("batch_size", self.batch_size > 0, "positive")
        need("learning_rate", self.learning_rate > 0, "positive")
        need("schedule", self.schedule in ("cosine", "tanh"), "'cosine' or 'tanh'")
        need("warmup_epochs", self.warmup_epochs >= 0, "0 or more")
        need("momentum", 0 <= self.momentum < 1, "in [0, 1)")
        need("l2", self.l2 >= 0, "0 or more")
        need("clip_norm", self.clip_norm is None or self.clip_norm > 0, "None or positive")
        need("padding", self.padding >= 0, "0 or more")
        need("cutout", self.cutout >= 0, "0 or more")
        need("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        need("average_decay", self.average_decay is None or 0 <= self.average_decay < 1, "None or in [0, 1)")

    def with_(self, **changes: Any) -> Recipe:
        """A copy with some fields changed. Raises CifarZooError for a field that does not exist."""
        for name in changes:
            if name not in _TYPES:
                near = difflib.get_close_matches(name, _TYPES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(_TYPES)}"
                raise CifarZooError(f"a recipe has no field {name!r}; {hint}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_TYPES: dict[str, tuple[type, ...]] = {
    field.name: {
        "int": (int,),
        "float": (float, int),
        "bool": (bool,),
        "str": (str,),
        "float | None": (float, int, type(None)),
    }[str(field.type)]
    for field in fields(Recipe)
}

# recipe -> network, or family of networks, or "" for all others
RECIPES: dict[str, dict[str, Recipe]] = {
    "zoo": {
        "": Recipe(),
        # Without batch norm the gradient is clipped, which lets the rate be high. Chosen with squeeze1 in runs of eight
        # epochs: on 5,000 held-out pictures the rates 0.05, 0.1, 0.2 and clipping at 1 gave 65.7, 70.3 and 73.2 %.
        "sandbox": Recipe(epochs=150, learning_rate=0.15, l2=1e-4, clip_norm=1.0, warmup_epochs=3.0, padding=0),
        "squeezenet": Recipe(learning_rate=0.1, l2=1e-4, clip_norm=1.0, warmup_epochs=3.0),
    },
}


def find_recipe(name: str, network: str = "", family: str = "") -> Recipe:
    """The recipe of that name for a network: its own, else its family's, else the common one."""
    if name not in RECIPES:
        raise CifarZooError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    table = RECIPES[name]
    return table.get(network) or table.get(family) or table[""]
