"""Seeds of the global random generators in training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from cifar_zoo.lazy import generators_kept


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global random generators of Python, NumPy and PyTorch within this context, then restore their states.

    Keras draws the seeds of initializers and dropout layers from Python's generator. The global seed generators of
    Keras and TensorFlow are not changed.
    """
    with generators_kept(), _torch_generators_kept():
        random.seed(seed)
        np.random.seed(seed)
        seed_torch(seed)
        yield


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
    """Seed PyTorch's global random generators for one step, so that a resumed run repeats its random draws.

    On PyTorch, Keras' dropout layers without a seed use these generators. On the other backends, the states of all
    random generators are variables, which checkpoints contain. There this function does nothing.
    """
    if keras.backend.backend() == "torch":
        seed_torch(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))


def seed_torch(seed: int) -> None:
    """Seed PyTorch's global random generators if it is the backend."""
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)
