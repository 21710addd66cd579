"""Checks of the arguments of layers."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any


def integer(name: str, value: Any, at_least: int | None = 1, or_none: bool = False) -> Any:
    """An integer argument as a Python integer, whichever kind of integer it is given as; booleans are refused.

    Args:
        name: name of the argument, for the message.
        value: what was given.
        at_least: the smallest integer that is allowed, or None where Keras checks that itself.
        or_none: whether None is allowed, too.

    Returns:
        The integer, or None.

    Raises:
        ValueError: for anything else than an integer of at least `at_least`.
    """
    if or_none and value is None:
        return None
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (at_least is not None and number < at_least):
        wanted = {None: "an integer", 1: "a positive integer"}.get(at_least, f"an integer from {at_least}")
        raise ValueError(f"{name} must be {wanted}{' or None' if or_none else ''}, not {value!r}")
    return number


def sides(name: str, value: Any) -> int | tuple[int, ...]:
    """An integer, or one for each of height and width, as Python integers; Keras checks that they are positive.

    Raises:
        ValueError: for anything else than integers.
    """
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(integer(name, side, at_least=None) for side in value)
    return integer(name, value, at_least=None)
