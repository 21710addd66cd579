"""Layers for the networks of the zoo and for anybody's own; each is loaded, with Keras, when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cifar_zoo.layers.batch_normalization import BatchNormalization
    from cifar_zoo.layers.cutout import Cutout
    from cifar_zoo.layers.local_response_normalization import LocalResponseNormalization
    from cifar_zoo.layers.per_image_standardization import PerImageStandardization
    from cifar_zoo.layers.random_crop import RandomCrop
    from cifar_zoo.layers.random_flip import RandomFlip

_MODULES = {
    "BatchNormalization": "batch_normalization",
    "Cutout": "cutout",
    "LocalResponseNormalization": "local_response_normalization",
    "PerImageStandardization": "per_image_standardization",
    "RandomCrop": "random_crop",
    "RandomFlip": "random_flip",
}
__all__ = [
    "BatchNormalization",
    "Cutout",
    "LocalResponseNormalization",
    "PerImageStandardization",
    "RandomCrop",
    "RandomFlip",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"cifar_zoo.layers has no layer {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
