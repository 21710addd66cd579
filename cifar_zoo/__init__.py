"""A zoo of CIFAR-10 networks for Keras 3, with pretrained weights.

The public names are listed in `__init__.pyi`. Each is imported at its first use, so that `import cifar_zoo` imports
neither Keras nor a backend.
"""

import os
from typing import Any

import lazy_loader
from wrapt import when_imported

from cifar_zoo import models as models  # registers the networks
from cifar_zoo.lazy import LazyModule, generators_kept, uncollected
from cifar_zoo.registry import set_weights_provider
from cifar_zoo.version import __version__ as __version__

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    with generators_kept(), uncollected():
        return _import(name)


# Loading weights depends on the registry, which therefore cannot import it and is told where to find it.
set_weights_provider(LazyModule("cifar_zoo.weights.store"))  # type: ignore[arg-type]

# TensorFlow reads this when it is imported. By itself it uses oneDNN only on x86 CPUs with AVX512_VNNI or better. With
# AVX2 alone a training step takes less than half of the time with it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@when_imported("keras")
def _register_classes(keras: Any) -> None:
    """Import the modules that register classes with Keras, so that it can load files that contain these classes."""
    import cifar_zoo.layers
    import cifar_zoo.training.optimizers
    import cifar_zoo.training.schedules  # noqa: F401
