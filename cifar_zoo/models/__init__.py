"""All networks, by name."""

from cifar_zoo.models.preact_resnet import resnet18
from cifar_zoo.models.resnet_cifar import resnet20, resnet32, resnet44, resnet56, resnet110
from cifar_zoo.models.sandbox import alex0, alex1, alex2, alex3, alex4, nin0, nin1, nin2, squeeze0, squeeze1, tuto
from cifar_zoo.models.squeezenet import squeezenet

__all__ = [
    "alex0",
    "alex1",
    "alex2",
    "alex3",
    "alex4",
    "nin0",
    "nin1",
    "nin2",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "squeeze0",
    "squeeze1",
    "squeezenet",
    "tuto",
]
