"""Keras, imported at its first use.

The model files name and describe networks as well as build them. Naming must be instant, and importing Keras loads a
whole backend, so these files take `keras` and `layers` from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    from keras import layers
else:

    class _Lazy:
        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._module), name)

    keras = _Lazy("keras")
    layers = _Lazy("keras.layers")

__all__ = ["keras", "layers"]
