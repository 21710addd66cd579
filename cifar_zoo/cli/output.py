"""Output of commands: tables for people, and plain lines or JSON for other programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from cifar_zoo.checks import finite_or_none


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, with null for each number that is not finite, which JSON cannot express."""
    click.echo(json.dumps(finite_or_none(value), indent=indent, allow_nan=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], plain: Iterable[str]) -> None:
    """Print a table as wide as the terminal, or plain lines where the output is not a terminal.

    Args:
        headings: A string for each column. One that starts with ">" is of numbers, aligned to the right. Numbers and
            the first column are not broken; other cells are if the terminal is narrow.
        rows: The cells. The last ones of a row may be missing.
        plain: The lines for other programs.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        for line in plain:
            click.echo(line)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_header=any(headings))
    for number, heading in enumerate(headings):
        right = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=right or number == 0,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
