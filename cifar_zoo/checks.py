"""Checks of arguments that are numbers, and of values that were read from JSON."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, TypeVar, get_args

from cifar_zoo.errors import CifarZooError, shown

_Schema = TypeVar("_Schema")
MAX_MINUTES = 10_000_000  # 19 years; far beyond that, a time overflows
_KINDS = {"bool_type": "bool", "int_type": "int", "float_type": "float", "string_type": "str", "dict_type": "dict"}


def validated(schema: Callable[..., _Schema], values: Any, where: str) -> _Schema:
    """Check the fields of a JSON object.

    Args:
        schema: A pydantic model or dataclass.
        values: Dict of the fields, as read from JSON.
        where: String. Prefix of error messages.

    Returns:
        An instance of the schema.

    Raises:
        CifarZooError: If a field is missing, unknown or invalid. The message names the field and its value.
    """
    from pydantic import ValidationError  # takes a while, and most users of this module do not need it

    if not isinstance(values, dict):
        raise CifarZooError(f"{where}: must be an object, not {shown(values)}")
    try:
        return schema(**values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        for kinds, verb in (
            ({"missing"}, "lacks"),
            ({"extra_forbidden", "unexpected_keyword_argument"}, "has unknown"),
        ):
            if names := sorted(str(found["loc"][0]) for found in errors if found["type"] in kinds):
                raise CifarZooError(f"{where}: {verb} {', '.join(names)}") from error
        raise CifarZooError(f"{where}: {_explain(errors[0], schema, values)}") from error


def _explain(error: Any, schema: Any, values: dict[str, Any]) -> str:
    """Return one line for an error of pydantic's."""
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name, *inside = error["loc"]
    field = schema.__pydantic_fields__.get(name)  # None for a field that the schema does not describe
    what = (field and field.description) or error["msg"].removeprefix("Input should be ")
    if error["type"] in _KINDS and not inside:
        what = _KINDS[error["type"]] + (" or null" if field and NoneType in get_args(field.annotation) else "")
    return f"{name} must be {what}, not {shown(values[name])}"


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
        CifarZooError: If the value is not an integer of at most 64 bits, or less than `at_least`.
    """
    if or_none and value is None:
        return None
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (at_least is not None and number < at_least):
        wanted = {None: "an integer", 1: "a positive integer"}.get(at_least, f"an integer from {at_least}")
        raise CifarZooError(f"{name} must be {wanted}{' or None' if or_none else ''}, not {shown(value)}")
    if not -(2**63) <= number < 2**63:  # beyond that, NumPy and the backends overflow
        raise CifarZooError(f"{name} must be an integer of at most 64 bits, not {shown(number)}")
    return number


def minutes(name: str, value: Any) -> float:
    """Check a time limit in minutes, of which None is the infinite one, and return it as a float.

    Args:
        name: Name of the argument, for the error message.
        value: The value to check.

    Raises:
        CifarZooError: If the value is not a positive and finite number, or more than 10 million.
    """
    if value is None:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise CifarZooError(f"{name} must be a number, not {shown(value)}")
    if not is_finite(value):
        raise CifarZooError(f"{name} must be a finite number, not {shown(value)}")
    limit = float(value)
    if limit <= 0:
        raise CifarZooError(f"{name} must be positive, not {shown(value)}")
    if limit > MAX_MINUTES:
        raise CifarZooError(f"{name} must be at most {MAX_MINUTES:,}, not {shown(value)}; None is no limit")
    return limit


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
    if not (value >= 0 and is_finite(value)):
        raise CifarZooError(f"{name} must be 0 or more{_unless_finite(value)}, not {shown(value)}")


def check_positive(name: str, value: Any) -> None:
    """Raise a CifarZooError for a number that is not finite or not above 0."""
    if not (value > 0 and is_finite(value)):
        raise CifarZooError(f"{name} must be positive{_unless_finite(value)}, not {shown(value)}")


def is_finite(value: Any) -> bool:
    """Whether a number is finite as a float. An integer may be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def finite_or_none(value: Any) -> Any:
    """Replace each float in dicts, lists and tuples that is not finite, which JSON cannot express, by None."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not is_finite(value) else value


def _unless_finite(value: Any) -> str:
    return "" if is_finite(value) else " and finite"
