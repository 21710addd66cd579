"""The manifest: every published weights file, with where it came from and what it was measured at."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json, write_json

PACKAGE = Path(__file__).resolve().parent.parent
NAME = "weights_manifest.json"


@dataclass(frozen=True)
class Entry:
    """One weights file. Every field is mandatory.

    Attributes:
        best: whether `weights="cifar10"` means this one; true for exactly one tag of a network.
        file: path below the folder of weights, and in the repository: NETWORK/TAG/NAME.weights.h5.
        repository: ORG/NAME on the hub, None for a file that is not published yet.
        revision: the commit of the repository that has the file, None where `repository` is.
        bytes, sha256: of the file.
        golden: path of the .npz with fixed images and the logits that the network gives for them.
        params: of the network, batch-norm statistics included.
        classes: number of classes.
        license: SPDX identifier.
        recipe: the hyper-parameters.
        seed, epochs, precision: of the run.
        test_accuracy: in 0..1, of this file on the 10,000 test images, last epoch, measured once.
        command: what trained it.
        hardware: what it was trained on.
        versions: of the packages.
        commit: of cifar_zoo.
    """

    best: bool
    file: str
    repository: str | None
    revision: str | None
    bytes: int
    sha256: str
    golden: str
    params: int
    classes: int
    license: str
    recipe: dict[str, Any]
    seed: int
    epochs: int
    precision: str
    test_accuracy: float
    command: str
    hardware: str
    versions: dict[str, str]
    commit: str

    def difference(self, path: Path) -> str:
        """How a file differs from the one that this entry is about; empty where it does not."""
        if not path.is_file():
            return "is not there"
        if (size := path.stat().st_size) != self.bytes:
            return f"has {size:,} bytes in place of {self.bytes:,}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return "" if digest == self.sha256 else f"has the SHA-256 {digest} in place of {self.sha256}"


Manifest = dict[str, dict[str, Entry]]  # network -> tag -> entry


def _path(text: str) -> bool:
    """Whether a text is a plain relative path: no "..", no drive, no hidden file."""
    return all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", part) for part in text.split("/"))


def _positive(number: int) -> bool:
    return number > 0


_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float,),
    "str": (str,),
    "str | None": (str, type(None)),
    "dict[str, Any]": (dict,),
    "dict[str, str]": (dict,),
}
_RULES: dict[str, tuple[Callable[[Any], object], str]] = {
    "file": (lambda text: _path(text) and text.endswith(".weights.h5"), "a relative path of a .weights.h5 file"),
    "repository": (lambda text: text is None or (_path(text) and text.count("/") == 1), "ORG/NAME or null"),
    "revision": (lambda text: text is None or re.fullmatch("[0-9a-f]{40}", text), "a commit of 40 hex digits or null"),
    "bytes": (_positive, "positive"),
    "sha256": (lambda text: re.fullmatch("[0-9a-f]{64}", text), "64 hex digits"),
    "golden": (lambda text: _path(text) and text.endswith(".npz"), "a relative path of an .npz file"),
    "params": (_positive, "positive"),
    "classes": (_positive, "positive"),
    "license": (bool, "an SPDX identifier"),
    "epochs": (_positive, "positive"),
    "seed": (lambda number: number >= 0, "0 or more"),
    "precision": (lambda text: text in ("float32", "mixed_bfloat16"), "float32 or mixed_bfloat16"),
    "test_accuracy": (lambda share: 0 <= share <= 1, "in [0, 1]"),
    "versions": (lambda numbers: all(isinstance(number, str) for number in numbers.values()), "texts by package"),
}


def manifest_path() -> Path:
    """The manifest of the installed package, or of the source checkout."""
    inside = PACKAGE / NAME
    return inside if inside.exists() else PACKAGE.parent / NAME


@cache
def read_manifest() -> Manifest:
    """The package's own manifest, checked."""
    return parse_manifest(manifest_path())


def parse_manifest(path: Path) -> Manifest:
    """Read and check a manifest. Raises CifarZooError for a missing, surplus or wrong field."""
    return _manifest(read_json(path), path)


def _manifest(raw: dict[str, Any], path: Path) -> Manifest:
    manifest: Manifest = {}
    for model, tags in raw.items():
        if not isinstance(tags, dict):
            raise CifarZooError(f"{path}: {model} must be an object with entries by tag, not {tags!r:.80}")
        manifest[model] = {tag: _entry(values, f"{path}: {model}.{tag}") for tag, values in tags.items()}
        for tag, entry in manifest[model].items():
            if entry.file.split("/")[:-1] != [model, tag]:
                raise CifarZooError(f"{path}: {model}.{tag}: file must be in {model}/{tag}/, not {entry.file!r}")
        if sum(entry.best for entry in manifest[model].values()) != 1:
            raise CifarZooError(f"{path}: {model} must have exactly one tag that is best")
    return manifest


def _entry(values: Any, where: str) -> Entry:
    from cifar_zoo.training.recipe import Recipe  # here, as training is a room above

    kinds = {field.name: str(field.type) for field in fields(Entry)}
    if not isinstance(values, dict):
        raise CifarZooError(f"{where}: must be an object, not {values!r:.80}")
    if missing := kinds.keys() - values.keys():
        raise CifarZooError(f"{where}: lacks {', '.join(sorted(missing))}")
    if surplus := values.keys() - kinds.keys():
        raise CifarZooError(f"{where}: has unknown {', '.join(sorted(surplus))}")
    for name, value in values.items():
        types = _TYPES[kinds[name]]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise CifarZooError(f"{where}: {name} must be {' or '.join(map(_word, types))}, not {value!r:.80}")
        fits, what = _RULES.get(name, (lambda _: True, ""))
        if not fits(value):
            raise CifarZooError(f"{where}: {name} must be {what}, not {value!r:.80}")
    if (values["repository"] is None) != (values["revision"] is None):
        raise CifarZooError(f"{where}: repository and revision must both be given, or both be null")
    try:
        Recipe(**values["recipe"])
    except (ValueError, TypeError) as error:
        raise CifarZooError(f"{where}: recipe is none of this version ({error})") from error
    return Entry(**values)


def _word(kind: type) -> str:
    return "null" if kind is type(None) else kind.__name__


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, sorted. Raises CifarZooError, and writes nothing, where it is not right."""
    raw = {model: {tag: asdict(tags[tag]) for tag in sorted(tags)} for model, tags in sorted(manifest.items())}
    _manifest(raw, path)
    write_json(path, raw)


def best(tags: dict[str, Entry]) -> tuple[str, Entry]:
    """The tag and entry that `weights="cifar10"` means."""
    return next((tag, entry) for tag, entry in tags.items() if entry.best)
