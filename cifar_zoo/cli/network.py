"""The name of a network as an argument, completed by the shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem


def network_argument(name: str = "name", **options: Any) -> Callable[[Any], Any]:
    """Return a decorator for an argument that names networks. The shell completes them, and else names of files."""
    return click.argument(name, shell_complete=_complete, **options)


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from cifar_zoo.registry import list_models

    names = [CompletionItem(name) for name in list_models() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]
