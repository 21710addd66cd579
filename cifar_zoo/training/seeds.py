"""The global random generators during a training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and PyTorch, and give them their state back in the end.

    Keras draws the seeds of initial weights and of dropout from Python's; its own global seed generator and that of
    TensorFlow are left alone.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with _torch_generators_kept():
            random.seed(seed)
            np.random.seed(seed)
            seed_torch(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _torch_generators_kept() -> Iterator[None]:
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices):
        yield


def seed_step(seed: int, step: int) -> None:
    """Make what PyTorch's own random generators give in a step a function of the step.

    Keras' dropout without a seed draws from them. The other backends draw from variables, which the checkpoint holds.
    """
    if keras.backend.backend() == "torch":
        seed_torch(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))


def seed_torch(seed: int) -> None:
    """Seed PyTorch's generators, where it is the backend."""
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)
