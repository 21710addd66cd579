"""Modules that are imported at their first use.

Importing Keras loads a whole backend, which takes seconds. Listing and describing networks needs none of it, so modules
that also run without a backend take `keras` and `layers` from here, and packages import their public names on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make a package import its public names on demand.

    Args:
        package: Full name of the package.
        homes: For each public name the module that defines it, relative to the package. A name that its module does
            not define is that module.

    Returns: the `__getattr__`, `__dir__` and `__all__` of the package.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{homes[name]}")
        return getattr(module, name, module)

    names = sorted(homes)
    return load, lambda: names, names


if TYPE_CHECKING:
    import keras
    from keras import layers

    Tensor = keras.KerasTensor
else:
    Tensor = Any
    keras = LazyModule("keras")
    layers = LazyModule("keras.layers")

__all__ = ["LazyModule", "Tensor", "attach", "keras", "layers"]
