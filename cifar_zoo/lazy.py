"""Modules that are imported at their first use.

Importing Keras loads a whole backend, which takes seconds. Listing and describing networks needs none of it, so modules
that also run without a backend take `keras` and `layers` from here.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any


@contextmanager
def generators_kept() -> Iterator[None]:
    """Restore the states of the global random generators of Python and NumPy after this context.

    Backends draw numbers while they are imported. A program that has seeded these generators must not notice when.
    """
    numpy = sys.modules.get("numpy")  # if it has not been imported, nobody has seeded its generator
    states = random.getstate(), numpy and numpy.random.get_state(legacy=False)
    try:
        yield
    finally:
        random.setstate(states[0])
        if numpy:
            numpy.random.set_state(states[1])


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage in this context, which imports a backend or builds a network.

    Both create many objects, up to a million, all of which stay. Looking for garbage among them takes up to a third of
    the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class LazyModule:
    """Stands for a module and imports it when one of its attributes is first used.

    Args:
        name: Full name of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if self._name not in sys.modules:
            with generators_kept(), uncollected():
                import_module(self._name)
        return getattr(sys.modules[self._name], attribute)


if TYPE_CHECKING:
    import keras
    from keras import layers

    Tensor = keras.KerasTensor
else:
    Tensor = Any
    keras = LazyModule("keras")
    layers = LazyModule("keras.layers")

__all__ = ["LazyModule", "Tensor", "generators_kept", "keras", "layers", "uncollected"]
