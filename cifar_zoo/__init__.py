"""A zoo of CIFAR-10 networks for Keras 3, with pretrained weights.

The public names stand in `__init__.pyi`. Each is loaded at its first use: importing cifar_zoo imports no backend.
"""

from typing import Any

import lazy_loader
from wrapt import when_imported

from cifar_zoo.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@when_imported("keras")
def _register_classes(keras: Any) -> None:
    """Run the modules that register classes with Keras, so that Keras can load files with such classes in them."""
    import cifar_zoo.layers
    import cifar_zoo.training.optimizers
    import cifar_zoo.training.schedules  # noqa: F401
