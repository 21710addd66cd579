"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifar_zoo.errors import CifarZooError


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: a reader sees all of it or the old one."""
    temporary = path.with_name(f".{path.name}.partial")  # one name, so that a killed process leaves no more than one
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CifarZooError if the file is something else."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CifarZooError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise CifarZooError(f"{path}: holds no JSON object")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_whole(path, lambda file: file.write_text(json.dumps(value, indent=2) + "\n"))
