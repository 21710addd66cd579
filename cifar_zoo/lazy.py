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


def attach(
    package: str, *, names: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make a package import its public names on demand.

    Args:
        package: Full name of the package.
        names: For each public name the module that defines it, relative to the package.
        modules: For each public module its path, relative to the package.

    Returns: the `__getattr__`, `__dir__` and `__all__` of the package.
    """
    modules = modules or {}

    def load(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{modules[name]}")
        if name in names:
            return getattr(import_module(f"{package}.{names[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    public = sorted([*names, *modules])
    return load, lambda: public, public


if TYPE_CHECKING:
    import keras
    from keras import layers

    Tensor = keras.KerasTensor
else:
    Tensor = Any
    keras = LazyModule("keras")
    layers = LazyModule("keras.layers")

__all__ = ["LazyModule", "Tensor", "attach", "keras", "layers"]
