"""The manifest: every published weights file, with where it came from and what it was measured at."""

from __future__ import annotations

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
        file: path below the folder of weights.
        bytes, sha256: of the file.
        golden: path of the .npz with fixed pictures and the logits that the network gives for them.
        parameters: of the network, batch-norm statistics included.
        classes: number of classes.
        licence: SPDX identifier.
        recipe: the hyper-parameters.
        seed, epochs, precision: of the run.
        test_accuracy: in 0..1, of this file on the 10,000 test pictures, last epoch, measured once.
        command: what trained it.
        hardware: what it was trained on.
        versions: of the packages.
        commit: of cifar_zoo.
    """

    best: bool
    file: str
    bytes: int
    sha256: str
    golden: str
    parameters: int
    classes: int
    licence: str
    recipe: dict[str, Any]
    seed: int
    epochs: int
    precision: str
    test_accuracy: float
    command: str
    hardware: str
    versions: dict[str, str]
    commit: str


Manifest = dict[str, dict[str, Entry]]  # network -> tag -> entry
_KINDS = {"str": str, "int": int, "float": float, "bool": bool}


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
    manifest = {
        model: {tag: _entry(values, f"{path}: {model}.{tag}") for tag, values in tags.items()}
        for model, tags in raw.items()
    }
    for model, tags in manifest.items():
        if sum(entry.best for entry in tags.values()) != 1:
            raise CifarZooError(f"{path}: {model} must have exactly one tag that is best")
    return manifest


def _entry(values: dict[str, Any], where: str) -> Entry:
    kinds = {field.name: str(field.type) for field in fields(Entry)}
    if missing := kinds.keys() - values.keys():
        raise CifarZooError(f"{where}: lacks {', '.join(sorted(missing))}")
    if surplus := values.keys() - kinds.keys():
        raise CifarZooError(f"{where}: has unknown {', '.join(sorted(surplus))}")
    for name, value in values.items():
        kind = _KINDS.get(kinds[name], dict)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CifarZooError(f"{where}: {name} must be {kind.__name__}, not {value!r}")
    return Entry(**values)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, sorted. Raises CifarZooError, and writes nothing, where it is not right."""
    raw = {model: {tag: asdict(tags[tag]) for tag in sorted(tags)} for model, tags in sorted(manifest.items())}
    _manifest(raw, path)
    write_json(path, raw)


def best(tags: dict[str, Entry]) -> tuple[str, Entry]:
    """The tag and entry that `weights="cifar10"` means."""
    return next((tag, entry) for tag, entry in tags.items() if entry.best)
