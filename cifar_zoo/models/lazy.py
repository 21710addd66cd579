"""Lazy import of `cifar_zoo.layers`, which imports Keras."""

from typing import TYPE_CHECKING

from cifar_zoo.lazy import LazyModule

if TYPE_CHECKING:
    from cifar_zoo import layers as zoo_layers
else:
    zoo_layers = LazyModule("cifar_zoo.layers")

__all__ = ["zoo_layers"]
