"""Output for other programs."""

from __future__ import annotations

import json
from typing import Any

import click

from cifar_zoo.checks import finite_or_none


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, with null for each number that is not finite, which JSON cannot express."""
    click.echo(json.dumps(finite_or_none(value), indent=indent, allow_nan=False))
