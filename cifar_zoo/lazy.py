"""Modules that are imported at their first use.

Importing Keras loads a whole backend, which takes seconds. Listing and describing networks needs none of it, so modules
that also run without a backend take `keras` and `layers` from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class LazyModule:
    """Stands for a module and imports it when one of its attributes is first used.

    Args:
        name: Full name of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


if TYPE_CHECKING:
    import keras
    from keras import layers

    Tensor = keras.KerasTensor
else:
    Tensor = Any
    keras = LazyModule("keras")
    layers = LazyModule("keras.layers")

__all__ = ["LazyModule", "Tensor", "keras", "layers"]
