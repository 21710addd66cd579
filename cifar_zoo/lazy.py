"""Keras, imported at its first use.

The model files name and describe networks as well as build them. Naming must be instant, and importing Keras loads a
whole backend, so these files take `keras` and `layers` from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


class LazyModule:
    """A module that is imported when one of its attributes is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


if TYPE_CHECKING:
    import keras
    from keras import layers
else:
    keras = LazyModule("keras")
    layers = LazyModule("keras.layers")

__all__ = ["LazyModule", "keras", "layers"]
