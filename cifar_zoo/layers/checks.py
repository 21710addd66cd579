"""Validation of the arguments of layers."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any


def integer(name: str, value: Any, at_least: int | None = 1, or_none: bool = False) -> Any:
    """Validates an integer argument and converts it to a Python integer. Any integer type is accepted, but no booleans.

    Args:
        name: Name of the argument, for the error message.
        value: The value to validate.
        at_least: Smallest valid integer, or None if Keras validates the range itself.
        or_none: Whether None is valid as well.

    Returns:
        The Python integer, or None.

    Raises:
        ValueError: If the value is not an integer, or less than `at_least`.
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
    """Validates an integer, or a pair of integers for height and width. Keras itself checks that they are positive.

    Args:
        name: Name of the argument, for the error message.
        value: The value to validate.

    Returns:
        A Python integer, or a tuple of them.

    Raises:
        ValueError: If the value is neither an integer nor a sequence of integers.
    """
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(integer(name, side, at_least=None) for side in value)
    return integer(name, value, at_least=None)
