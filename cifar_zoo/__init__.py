"""A zoo of CIFAR-10 networks for Keras 3, with pretrained weights.

The names below load what they need at their first use: importing cifar_zoo imports no backend.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cifar_zoo.version import __version__ as __version__

if TYPE_CHECKING:
    from cifar_zoo import layers, models
    from cifar_zoo.data.cifar10 import load_cifar10
    from cifar_zoo.data.folder import load_folder
    from cifar_zoo.errors import CifarZooError
    from cifar_zoo.evaluation.evaluate import evaluate
    from cifar_zoo.evaluation.predict import predict
    from cifar_zoo.registry import create_model, list_models, model_info, register_model
    from cifar_zoo.saving import load_model
    from cifar_zoo.training import optimizers, schedules
    from cifar_zoo.training.fit import Run, fit_cifar10
    from cifar_zoo.training.recipe import Recipe
    from cifar_zoo.weights.files import load_weights, save_weights

_HOMES = {
    "CifarZooError": "errors",
    "Recipe": "training.recipe",
    "Run": "training.fit",
    "create_model": "registry",
    "evaluate": "evaluation.evaluate",
    "fit_cifar10": "training.fit",
    "list_models": "registry",
    "load_cifar10": "data.cifar10",
    "load_folder": "data.folder",
    "load_model": "saving",
    "load_weights": "weights.files",
    "model_info": "registry",
    "predict": "evaluation.predict",
    "register_model": "registry",
    "save_weights": "weights.files",
}
_MODULES = {
    "layers": "layers",
    "models": "models",
    "optimizers": "training.optimizers",
    "schedules": "training.schedules",
}
__all__ = [
    "CifarZooError",
    "Recipe",
    "Run",
    "create_model",
    "evaluate",
    "fit_cifar10",
    "layers",
    "list_models",
    "load_cifar10",
    "load_folder",
    "load_model",
    "load_weights",
    "model_info",
    "models",
    "optimizers",
    "predict",
    "register_model",
    "save_weights",
    "schedules",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'cifar_zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
