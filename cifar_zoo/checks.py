"""Checks of arguments that are numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

from cifar_zoo.errors import CifarZooError


def integer(name: str, value: Any, at_least: int | None = 1, or_none: bool = False) -> Any:
    """Check an integer argument and return it as a Python integer. Any integer type is accepted, but no booleans.

    Args:
        name: Name of the argument, for the error message.
        value: The value to check.
        at_least: Smallest valid integer, or None if the range is checked elsewhere.
        or_none: Whether None is valid as well.

    Returns:
        The Python integer, or None.

    Raises:
        CifarZooError: If the value is not an integer, or less than `at_least`.
    """
    if or_none and value is None:
        return None
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (at_least is not None and number < at_least):
        wanted = {None: "an integer", 1: "a positive integer"}.get(at_least, f"an integer from {at_least}")
        raise CifarZooError(f"{name} must be {wanted}{' or None' if or_none else ''}, not {value!r}")
    return number


def sides(name: str, value: Any) -> int | tuple[int, ...]:
    """Check an integer, or a pair of integers for height and width. Keras itself checks that they are positive.

    Args:
        name: Name of the argument, for the error message.
        value: The value to check.

    Returns:
        A Python integer, or a tuple of them.

    Raises:
        CifarZooError: If the value is neither an integer nor a sequence of integers.
    """
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(integer(name, side, at_least=None) for side in value)
    return integer(name, value, at_least=None)


def check_not_negative(name: str, value: Any) -> None:
    """Raise a CifarZooError for a number that is not finite or below 0."""
    if not 0 <= value < math.inf:
        raise CifarZooError(f"{name} must be 0 or more{_unless_finite(value)}, not {value}")


def check_positive(name: str, value: Any) -> None:
    """Raise a CifarZooError for a number that is not finite or not above 0."""
    if not 0 < value < math.inf:
        raise CifarZooError(f"{name} must be positive{_unless_finite(value)}, not {value}")


def _unless_finite(value: Any) -> str:
    return "" if math.isfinite(value) else " and finite"
