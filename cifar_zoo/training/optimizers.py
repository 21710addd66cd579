"""The optimisers of the zoo, for people's own trainings too."""

from cifar_zoo.training.muon import Muon
from cifar_zoo.training.sgd import SGD

__all__ = ["SGD", "Muon"]
