"""All networks by name. Importing their modules registers them."""

from cifar_zoo.models.airbench import airbench94, airbench96
from cifar_zoo.models.alexnet import alexnet, original_alexnet, small_alexnet, tanh_alexnet
from cifar_zoo.models.densenet import densenet100, densenet121
from cifar_zoo.models.dilated_conv import dilated_conv
from cifar_zoo.models.dual_path import dual_path_net50, dual_path_net92
from cifar_zoo.models.efficientnet import efficientnet_b0
from cifar_zoo.models.fractalnet import fractalnet
from cifar_zoo.models.inception import inception_v1, inception_v2
from cifar_zoo.models.inception_resnet import inception_resnet_v2
from cifar_zoo.models.inception_v3 import inception_v3
from cifar_zoo.models.inception_v4 import inception_v4
from cifar_zoo.models.mobilenet_v3 import mobilenet_v3
from cifar_zoo.models.nin import nin
from cifar_zoo.models.preact_resnet import cbam_resnet50, resnet18, resnet50, se_resnet50, stochastic_depth
from cifar_zoo.models.pyramidnet import pyramidnet110, pyramidnet272_shake_drop
from cifar_zoo.models.resnet_cifar import resnet20, resnet32, resnet44, resnet56, resnet110
from cifar_zoo.models.resnext import resnext50, se_resnext50, senet154
from cifar_zoo.models.sandbox import alex0, alex1, alex2, alex3, alex4, nin0, nin1, nin2, squeeze0, squeeze1, tuto
from cifar_zoo.models.shake_shake import wrn26_6_shake_shake
from cifar_zoo.models.shufflenet_v2 import shufflenet_v2
from cifar_zoo.models.sknet import sknet50
from cifar_zoo.models.squeezenet import squeezenet
from cifar_zoo.models.vgg import vgg16
from cifar_zoo.models.wide_resnet import se_wide_resnet28_10, wide_resnet28_10, wrn26_10
from cifar_zoo.models.xception import xception

__all__ = [
    "airbench94",
    "airbench96",
    "alex0",
    "alex1",
    "alex2",
    "alex3",
    "alex4",
    "alexnet",
    "cbam_resnet50",
    "densenet100",
    "densenet121",
    "dilated_conv",
    "dual_path_net50",
    "dual_path_net92",
    "efficientnet_b0",
    "fractalnet",
    "inception_resnet_v2",
    "inception_v1",
    "inception_v2",
    "inception_v3",
    "inception_v4",
    "mobilenet_v3",
    "nin",
    "nin0",
    "nin1",
    "nin2",
    "original_alexnet",
    "pyramidnet110",
    "pyramidnet272_shake_drop",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet110",
    "resnext50",
    "se_resnet50",
    "se_resnext50",
    "se_wide_resnet28_10",
    "senet154",
    "shufflenet_v2",
    "sknet50",
    "small_alexnet",
    "squeeze0",
    "squeeze1",
    "squeezenet",
    "stochastic_depth",
    "tanh_alexnet",
    "tuto",
    "vgg16",
    "wide_resnet28_10",
    "wrn26_6_shake_shake",
    "wrn26_10",
    "xception",
]
