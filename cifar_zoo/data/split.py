"""Splitting labeled images into those to train on and those to hold out."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from cifar_zoo.checks import is_finite
from cifar_zoo.errors import CifarZooError, shown


def stratified_split(labels: np.ndarray, fraction: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images to hold out, the same fraction of each class: at least one image, and not all of them.

    Args:
        labels: Array (n,) of integers from 0 to classes - 1, each of which is there at least twice.
        fraction: Number in (0, 1).
        seed: Integer from 0. Seed of the draw.

    Returns: the indices of the images to train on and of those held out, each in rising order.

    Raises:
        CifarZooError: If the fraction is not such a number.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real) or not is_finite(fraction):
        raise CifarZooError(f"validation_split must be a number between 0 and 1, not {shown(fraction)}")
    share = float(fraction)
    if not 0 < share < 1:
        raise CifarZooError(f"validation_split must be between 0 and 1, not {shown(fraction)}")
    held_out = np.zeros(len(labels), bool)
    for number in range(labels.max() + 1):
        members = np.flatnonzero(labels == number)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held_out[np.random.default_rng((seed, number)).permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
