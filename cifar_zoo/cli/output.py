"""Output for other programs."""

from __future__ import annotations

import json
from typing import Any

import click

from cifar_zoo.checks import is_finite


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, with null for each number that is not finite, which JSON cannot express."""
    click.echo(json.dumps(_finite(value), indent=indent, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not is_finite(value) else value
