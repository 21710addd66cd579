"""The manifest of all published weights files, with their origin and measured accuracy."""

from __future__ import annotations

import builtins
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cifar_zoo.checks import validated
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.files import finish_replacing, read_expected, read_json, sha256_of, to_json, write_atomically
from cifar_zoo.lock import locked

RUN_FILES = ("config.json", "history.csv", "metrics.json")  # copied from a run in addition to its weights
PACKAGE = Path(__file__).resolve().parent.parent
NAME = "weights_manifest.json"


def _plain(path: str) -> str:
    """Validate a relative path without "..", drive letters or hidden files."""
    if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", part) for part in path.split("/")):
        raise ValueError("not a plain relative path")
    return path


def _text(pattern: str) -> Any:
    return Field(pattern=f"^(?:{pattern})$")


Name = Annotated[
    str, _text("[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}"), Field(description="letters, digits and _.+-, up to 100")
]
_Path = Annotated[str, AfterValidator(_plain)]
_Sha256 = Annotated[str, _text("[0-9a-f]{64}")]
_Value = bool | int | float | str | list[int | float] | None


class Entry(BaseModel):
    """One weights file. All fields are required.

    Attributes:
        best: Boolean. Whether `weights="cifar10"` loads this file. True for exactly one tag of each network.
        file: String. Path in the folder of weights and in the repository: NETWORK/TAG/NAME.weights.h5.
        repository: String. ORG/NAME on the hub, or None if the file is not published yet.
        revision: String. Commit of the repository that contains the file, or None if the file is not published yet.
        bytes: Integer. Size of the file.
        sha256: String. Hash of the file.
        golden: String. Path of the .npz file with fixed images and the logits of the network for them.
        files: Dict. SHA-256 of golden.npz and of the run's config.json, history.csv and metrics.json.
        params: Integer. Number of parameters of the network, including the batch-norm statistics.
        classes: Integer. Number of classes.
        license: String. SPDX identifier.
        recipe: Dict. Fields of the recipe of the run.
        seed: Integer. Seed of the run.
        epochs: Integer. Number of epochs of the run.
        precision: String. "float32" or "mixed_bfloat16".
        test_accuracy: Float in [0, 1]. Accuracy of this file on the 10,000 test images, measured once, after the last
            epoch.
        command: String. Command of the run.
        hardware: String. Hardware of the run.
        versions: Dict. Versions of the packages that the run used.
        commit: String. Commit of cifar_zoo that the run used.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    best: bool
    file: Annotated[_Path, _text(r".*\.weights\.h5"), Field(description="a relative path of a .weights.h5 file")]
    repository: Annotated[_Path, _text("[^/]+/[^/]+")] | None = Field(description="ORG/NAME or null")
    revision: Annotated[str, _text("[0-9a-f]{40}")] | None = Field(description="a commit of 40 hex digits or null")
    bytes: int = Field(gt=0, description="positive")
    sha256: Annotated[_Sha256, Field(description="64 hex digits")]
    golden: Annotated[_Path, _text(r".*\.npz"), Field(description="a relative path of an .npz file")]
    files: dict[str, _Sha256] = Field(description="hashes of 64 hex digits by file")
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

    @model_validator(mode="after")
    def _files_are_known(self) -> Self:
        if self.files.keys() != {PurePosixPath(self.golden).name, *RUN_FILES}:
            raise ValueError(
                f"files must be of golden.npz, {', '.join(RUN_FILES)}, not {', '.join(self.files) or 'none'}"
            )
        return self

    def read(self, path: Path) -> tuple[builtins.bytes, str]:
        """Read a file and compare its size and hash with this entry.

        Returns: A tuple of the content of the file and a description of the difference, which is empty if the file
            is the one of this entry. The returned bytes are exactly those that were compared.
        """
        return read_expected(path, self.bytes, self.difference_of)

    def difference_of(self, content: builtins.bytes) -> str:
        """Return how some content differs from that of this entry's file, as a string that is empty if it does not."""
        digest = hashlib.sha256(content).hexdigest()
        return "" if digest == self.sha256 else f"has the SHA-256 {digest} instead of {self.sha256}"

    def difference(self, path: Path) -> str:
        """Return how a file differs from the one of this entry, as a string that is empty if it does not."""
        return self.read(path)[1]

    def damaged(self, folder: Path) -> list[str]:
        """Return which of `files` in a folder are not those of this entry. Files that are not there do not count."""
        found = {name: folder / name for name in self.files if (folder / name).is_file()}
        return [name for name, path in found.items() if sha256_of(path) != self.files[name]]


Manifest = dict[str, dict[str, Entry]]  # network -> tag -> entry


def manifest_path() -> Path:
    """Return the path of the manifest in the installed package or the source checkout."""
    inside = PACKAGE / NAME
    return inside if inside.exists() else PACKAGE.parent / NAME


@cache
def read_manifest() -> Manifest:
    """Read and validate the manifest of the package."""
    return parse_manifest(manifest_path())


def parse_manifest(path: Path) -> Manifest:
    """Read and validate a manifest. Raises CifarZooError for a missing, unknown or invalid field."""
    if journal_of(path).exists():
        with changing(path):  # completes what an interrupted process has begun
            pass
    return _manifest(read_json(path), path)


def journal_of(path: Path) -> Path:
    """Return the path of the journal with which a manifest and the files of its entries are replaced together."""
    return path.with_name(f".{path.name}.journal")


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Lock a manifest within this context, waiting for other processes that are about to change it."""
    with locked(path.with_name(f".{path.name}.lock"), "another process", "wait for it, or stop it", wait=60):
        finish_replacing(journal_of(path))
        yield


def _manifest(raw: dict[str, Any], path: Path) -> Manifest:
    manifest: Manifest = {}
    for model, tags in raw.items():
        if not isinstance(tags, dict):
            raise CifarZooError(f"{path}: {model} must be an object with entries by tag, not {shown(tags)}")
        manifest[model] = {tag: validated(Entry, values, f"{path}: {model}.{tag}") for tag, values in tags.items()}
        for tag, entry in manifest[model].items():
            if entry.file.split("/")[:-1] != [model, tag]:
                raise CifarZooError(f"{path}: {model}.{tag}: file must be in {model}/{tag}/, not {entry.file!r}")
        if sum(entry.best for entry in manifest[model].values()) != 1:
            raise CifarZooError(f"{path}: {model} must have exactly one tag that is best")
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, sorted by network and tag. An invalid one raises CifarZooError and is not written."""
    content = manifest_json(manifest, path)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def manifest_json(manifest: Manifest, path: Path) -> bytes:
    """Return the content of a manifest's file. An invalid manifest raises CifarZooError, which names the path."""
    raw = {model: {tag: tags[tag].model_dump() for tag in sorted(tags)} for model, tags in sorted(manifest.items())}
    _manifest(raw, path)
    return to_json(raw, path)


def best(tags: dict[str, Entry]) -> tuple[str, Entry]:
    """Return the tag and the entry of the weights that `weights="cifar10"` loads."""
    return next((tag, entry) for tag, entry in tags.items() if entry.best)
