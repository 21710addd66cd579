"""Validation of the arguments of optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from typing import Any


def check_not_negative(name: str, value: Any) -> None:
    """Raise a ValueError for a number that is not finite or below 0."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more{_unless_finite(value)}, not {value}")


def check_positive(name: str, value: Any) -> None:
    """Raise a ValueError for a number that is not finite or not above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive{_unless_finite(value)}, not {value}")


def _unless_finite(value: Any) -> str:
    return "" if math.isfinite(value) else " and finite"
