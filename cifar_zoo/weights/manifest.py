"""The manifest: every published weights file, with its origin and its measured accuracy."""

from __future__ import annotations

import builtins
import hashlib
import os
import re
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json, write_json

PACKAGE = Path(__file__).resolve().parent.parent
NAME = "weights_manifest.json"


def _plain(path: str) -> str:
    """A relative path without "..", a drive or hidden files."""
    if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", part) for part in path.split("/")):
        raise ValueError("not a plain relative path")
    return path


def _text(pattern: str) -> Any:
    return Field(pattern=f"^(?:{pattern})$")


_Path = Annotated[str, AfterValidator(_plain)]
_Value = bool | int | float | str | list[int | float] | None


class Entry(BaseModel):
    """One weights file. Every field is mandatory. A field's description says which values it may have.

    Attributes:
        best: whether `weights="cifar10"` means this file; true for exactly one tag of a network.
        file: path below the folder of weights, and in the repository: NETWORK/TAG/NAME.weights.h5.
        repository: ORG/NAME on the hub; None for a file that is not published yet.
        revision: the commit of the repository that has the file; None where `repository` is.
        bytes, sha256: size and hash of the file.
        golden: path of the .npz file with fixed images and the logits that the network computes for them.
        params: number of parameters of the network, batch-norm statistics included.
        classes: number of classes.
        license: SPDX identifier.
        recipe: the fields of the recipe that trained the network.
        seed, epochs, precision: of the run.
        test_accuracy: in 0..1, of this file on the 10,000 test images, measured once, after the last epoch.
        command: the command that trained the network.
        hardware: what it was trained on.
        versions: version of each package in the training.
        commit: commit of cifar_zoo in the training.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    best: bool
    file: Annotated[_Path, _text(r".*\.weights\.h5"), Field(description="a relative path of a .weights.h5 file")]
    repository: Annotated[_Path, _text("[^/]+/[^/]+")] | None = Field(description="ORG/NAME or null")
    revision: Annotated[str, _text("[0-9a-f]{40}")] | None = Field(description="a commit of 40 hex digits or null")
    bytes: int = Field(gt=0, description="positive")
    sha256: Annotated[str, _text("[0-9a-f]{64}"), Field(description="64 hex digits")]
    golden: Annotated[_Path, _text(r".*\.npz"), Field(description="a relative path of an .npz file")]
    params: int = Field(gt=0, description="positive")
    classes: int = Field(gt=0, description="positive")
    license: str = Field(min_length=1, description="an SPDX identifier")
    recipe: dict[str, _Value] = Field(description="numbers, texts, true, false, null and lists of numbers by field")
    seed: int = Field(ge=0, description="0 or more")
    epochs: int = Field(gt=0, description="positive")
    precision: Literal["float32", "mixed_bfloat16"] = Field(description="float32 or mixed_bfloat16")
    test_accuracy: float = Field(ge=0, le=1, description="in [0, 1]")
    command: str
    hardware: str
    versions: dict[str, str] = Field(description="texts by package")
    commit: str

    @model_validator(mode="after")
    def _published_or_not(self) -> Self:
        if (self.repository is None) != (self.revision is None):
            raise ValueError("repository and revision must both be given, or both be null")
        return self

    def read(self, path: Path) -> tuple[builtins.bytes, str]:
        """The content of a file, and how it differs from the file of this entry: empty where it does not.

        The content is that of which the size and the hash are compared, whatever happens to the file afterwards.
        """
        if not path.is_file():
            return b"", "is not there"
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != self.bytes:
                return b"", f"has {size:,} bytes in place of {self.bytes:,}"
            content = file.read(size)
        digest = hashlib.sha256(content).hexdigest()
        return content, "" if digest == self.sha256 else f"has the SHA-256 {digest} in place of {self.sha256}"

    def difference(self, path: Path) -> str:
        """How a file differs from the file of this entry; empty where it does not."""
        return self.read(path)[1]


Manifest = dict[str, dict[str, Entry]]  # network -> tag -> entry

_KINDS = {"bool_type": "bool", "int_type": "int", "float_type": "float", "string_type": "str", "dict_type": "dict"}


def parse_entry(values: Any, where: str) -> Entry:
    """Check the fields of an entry.

    Args:
        values: the fields, as JSON has them.
        where: what an error message begins with.

    Raises:
        CifarZooError: for a missing, unknown or wrong field, with the field's name.
    """
    if not isinstance(values, dict):
        raise CifarZooError(f"{where}: must be an object, not {values!r:.80}")
    try:
        return Entry.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        for kind, verb in (("missing", "lacks"), ("extra_forbidden", "has unknown")):
            if names := sorted(str(found["loc"][0]) for found in errors if found["type"] == kind):
                raise CifarZooError(f"{where}: {verb} {', '.join(names)}") from error
        raise CifarZooError(f"{where}: {_explain(errors[0], values)}") from error


def _explain(error: Any, values: dict[str, Any]) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name, *inside = error["loc"]
    field = Entry.model_fields[name]
    what = field.description
    if error["type"] in _KINDS and not inside:
        what = _KINDS[error["type"]] + (" or null" if NoneType in get_args(field.annotation) else "")
    return f"{name} must be {what}, not {values[name]!r:.80}"


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
        manifest[model] = {tag: parse_entry(values, f"{path}: {model}.{tag}") for tag, values in tags.items()}
        for tag, entry in manifest[model].items():
            if entry.file.split("/")[:-1] != [model, tag]:
                raise CifarZooError(f"{path}: {model}.{tag}: file must be in {model}/{tag}/, not {entry.file!r}")
        if sum(entry.best for entry in manifest[model].values()) != 1:
            raise CifarZooError(f"{path}: {model} must have exactly one tag that is best")
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, sorted by network and tag. Raises CifarZooError, and writes nothing, for a wrong one."""
    raw = {model: {tag: tags[tag].model_dump() for tag in sorted(tags)} for model, tags in sorted(manifest.items())}
    _manifest(raw, path)
    write_json(path, raw)


def best(tags: dict[str, Entry]) -> tuple[str, Entry]:
    """The tag and entry that `weights="cifar10"` means."""
    return next((tag, entry) for tag, entry in tags.items() if entry.best)
