"""The optimizers of the zoo, for people's own trainings too."""

from cifar_zoo.training.optimizers.muon import Muon
from cifar_zoo.training.optimizers.sgd import SGD

__all__ = ["SGD", "Muon"]
