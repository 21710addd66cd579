"""A zoo of CIFAR-10 networks for Keras 3, with pretrained weights.

Importing cifar_zoo imports no backend: the public names are imported at their first use, and the networks, which are
registered here, take Keras when they are built.
"""

from typing import TYPE_CHECKING

from cifar_zoo import models as models
from cifar_zoo.lazy import LazyModule, attach
from cifar_zoo.registry import set_weights_provider
from cifar_zoo.version import __version__ as __version__

if TYPE_CHECKING:
    from cifar_zoo import layers as layers
    from cifar_zoo.data.cifar10 import load_cifar10 as load_cifar10
    from cifar_zoo.data.folder import load_folder as load_folder
    from cifar_zoo.errors import CifarZooError as CifarZooError
    from cifar_zoo.evaluation.evaluate import evaluate as evaluate
    from cifar_zoo.evaluation.predict import predict as predict
    from cifar_zoo.models.build import Architecture as Architecture
    from cifar_zoo.registry import create_model as create_model
    from cifar_zoo.registry import list_models as list_models
    from cifar_zoo.registry import model_info as model_info
    from cifar_zoo.registry import register_model as register_model
    from cifar_zoo.saving import load_model as load_model
    from cifar_zoo.training import optimizers as optimizers
    from cifar_zoo.training import schedules as schedules
    from cifar_zoo.training.fit import Run as Run
    from cifar_zoo.training.fit import fit_cifar10 as fit_cifar10
    from cifar_zoo.training.recipe import Recipe as Recipe
    from cifar_zoo.weights import store
    from cifar_zoo.weights.files import load_weights as load_weights
    from cifar_zoo.weights.files import save_weights as save_weights
else:
    store = LazyModule("cifar_zoo.weights.store")

# Weights depend on the networks, so that the registry cannot import them: it is told where to find them.
set_weights_provider(store)

__getattr__, __dir__, __all__ = attach(
    __name__,
    names={
        "Architecture": "models.build",
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
    },
    modules={
        "layers": "layers",
        "models": "models",
        "optimizers": "training.optimizers",
        "schedules": "training.schedules",
    },
)
