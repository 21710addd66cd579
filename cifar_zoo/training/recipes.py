"""The recipes by name.

- `zoo`: our own. Measured in results/, one file a run; docs/results.md has the table.
- `paper`, `paper2`: those with which the authors of the published tables trained. Their hardware is not recorded here;
  the published accuracy is in the rows of `model_info(network)`.
- `fast`, `fast_muon`: for airbench94 in minutes on a CPU; docs/fast.md has the figures.

All figures of held-out images below are those of 5,000 training images that were not trained on, with `cifar-zoo fit
--holdout 5000` on 2 CPU cores; the runs are in results/recipe_search.json.
"""

from __future__ import annotations

from typing import Any

from cifar_zoo.errors import CifarZooError
from cifar_zoo.registry import model_info
from cifar_zoo.training.recipe import Recipe

# Source: the repository DeepLearning-CNN-Models. 100 epochs for most networks.
# Its penalty is sum(w ** 2), without the factor 1/2, so its factors are doubled here. Its learning rate changes between
# epochs. Its `clipnorm` is that of each variable, and probably had no effect in TensorFlow 2.1.
CNN = Recipe(
    epochs=100,
    schedule="tanh",
    staircase=True,
    warmup_epochs=0.0,
    l2=2e-4,
    clipnorm=2.0,
    padding=0,
    rotation=15.0,
    shift=0.1,
    shear=0.1,
    zoom=0.1,
    label_smoothing=0.1,
    ema_decay=None,
)
CNN_WIDER = CNN.with_(shift=0.125, shear=0.125, zoom=0.125)
CNN_STEPS = CNN.with_(
    schedule="piecewise",
    decay_epochs=(40, 60, 85),
    decay_factors=(0.5, 0.1, 0.02),
    l2=1e-3,
    clipnorm=None,
    label_smoothing=0.0,
)
SE_WIDE = CNN_WIDER.with_(epochs=150, warmup_epochs=10.0, mixup=0.2)

# Source: the repository Tensorsandbox. 300,000 steps (768 epochs) or 100,000 (256) of SGD without momentum, on 24x24
# crops.
SANDBOX = Recipe(
    epochs=768,
    schedule="constant",
    warmup_epochs=0.0,
    momentum=0.0,
    nesterov=False,
    l2=0.0,
    padding=0,
    brightness=63.0,
    contrast=0.8,
    ema_decay=0.9999,
)
TUTORIAL = SANDBOX.with_(dense_l2=500.0)

# Source: the CIFAR-10 example of Flax. 200 epochs, or 300 for pyramidnet272_shake_drop.
FLAX = Recipe(
    epochs=200,
    batch_size=256,
    schedule="piecewise",
    decay_epochs=(60, 120, 160),
    decay_factors=(0.2, 0.04, 0.008),
    warmup_epochs=0.0,
    ema_decay=None,
)

# Source: notes on AlexNet, which state the number of iterations only (27,000, or 69 epochs, for original_alexnet). All
# else is from the AlexNet paper, except that its author lowered the learning rate by hand, and here it is constant.
NOTES = Recipe(
    epochs=69,
    learning_rate=0.01,
    schedule="constant",
    warmup_epochs=0.0,
    nesterov=False,
    padding=0,
    ema_decay=None,
)

# Source: He et al. 2015 (arXiv:1512.03385). 64,000 iterations (164 epochs); the learning rate is divided by ten at
# 32,000 and 48,000.
RESNET = Recipe(
    epochs=164,
    schedule="piecewise",
    decay_epochs=(82, 123),
    decay_factors=(0.1, 0.01),
    warmup_epochs=0.0,
    nesterov=False,
    l2=1e-4,
    padding_mode="constant",
    ema_decay=None,
)

# Source: airbench94, Jordan 2024 (arXiv:2404.00498). 12 epochs on 2 CPU cores: 9 minutes, 94 % with test-time
# augmentation. The original 9.9 epochs end at 94.0 % on average, so that every other run is below.
# The original states the learning rate and the weight decay, 11.5 and 0.0153, for the sum of the losses of 1024 images,
# and before both are multiplied by 1 / (1 + 1 / (1 - momentum)).
FAST = Recipe(
    epochs=12,
    batch_size=1024,
    learning_rate=1.5,
    schedule="triangular",
    momentum=0.85,
    l2=1.33e-3,
    bn_bias_lr_multiplier=64.0,
    whitening_bias_epochs=3.0,
    padding=2,
    alternating_flip=True,
    label_smoothing=0.2,
    ema_decay=0.95**5,
    lookahead=5,
    test_time_augmentation=True,
)

# Source: ours. 12 epochs. A step turns a hidden kernel by an angle of about the learning rate. Chosen in runs of six
# epochs: the learning rates 0.24 and 0.12 gave 92.0 and 92.4 % of held-out images. The multiplier leaves all other
# weights about the learning rate that they have in `FAST`.
FAST_MUON = FAST.with_(optimizer="muon", fixed_norm=True, learning_rate=0.12, momentum=0.6, sgd_lr_multiplier=36.0)

# Source: ours. 150 epochs; squeeze1: 88.44 % in 46 minutes on 2 cores of an Intel Xeon with AMX.
# These networks have no batch norm. Clipping the gradient allows a high learning rate: in runs of eight epochs of
# squeeze1, clipped at 1, the learning rates 0.05, 0.1 and 0.2 gave 65.7, 70.3 and 73.2 % of held-out images.
SMALL_SGD = Recipe(epochs=150, learning_rate=0.15, l2=1e-4, global_clipnorm=1.0, warmup_epochs=3.0, padding=0)
# Source: ours. 60 epochs; alex4: 87.93 % in 25 minutes on 2 cores of an Intel Xeon with AMX.
# Chosen with alex4 in runs of 24 epochs: SGD gave 82.5 % of held-out images; Muon with `l2` of 0.002, 0.02, 0.05 and
# 0.1 gave 84.8, 86.7, 87.4 and 85.8 %; twice the learning rate with half of `l2` 86.5, label smoothing of 0.1 87.0.
SMALL_MUON = SMALL_SGD.with_(epochs=60, optimizer="muon", learning_rate=0.02, sgd_lr_multiplier=5.0, l2=0.05)

# Source: ours. 90 epochs; resnet20: 93.16 % in 71 minutes on 2 cores of an AMD EPYC.
# Chosen with resnet20 in runs of 12 epochs: SGD gave 87.2 % of held-out images, Muon 89.6. Cutout and the alternating
# flip gave 89.6 too, but 2.5 points less on the training images, so that more epochs pay off.
RESNET_MUON = Recipe(
    epochs=90, optimizer="muon", learning_rate=0.02, sgd_lr_multiplier=5.0, l2=0.05, cutout=8, alternating_flip=True
)

# Source: ours, for a GPU. 40 epochs of batches of 512; resnet18: 95.21 % in 2 minutes on an H100 that four other runs
# shared. In runs of 12 epochs of resnet20 with such batches, the learning rates 0.02, 0.03 and 0.045 gave 86.7, 88.2
# and 88.8 % of held-out images. 0.03 was taken because 40 epochs have more steps.
LARGE_BATCH_MUON = RESNET_MUON.with_(
    epochs=40, batch_size=512, learning_rate=0.03, l2=0.07, label_smoothing=0.1, ema_decay=0.996
)

# By the name of the recipe, then by the name of the network, or of its family, or "" for all others.
RECIPES: dict[str, dict[str, Recipe]] = {
    "zoo": {
        "": Recipe(),
        "sandbox": SMALL_MUON,
        **dict.fromkeys(("squeeze0", "squeeze1", "nin0", "nin1"), SMALL_SGD),
        # 50 epochs: 90.59 % in 57 minutes on 2 cores of an AMD EPYC. Its own dropout of 0.5 gave 84.4 % of held-out
        # images in 12 epochs, 0.2 gave 86.7.
        "nin2": SMALL_MUON.with_(epochs=50, dropout=0.2),
        "resnet_cifar": RESNET_MUON,
        # It has no batch norm. In 8 epochs SGD gave 71.3 % of held-out images, Muon 86.5; with cutout and the
        # alternating flip 85.3, but 2.7 points less on the training images.
        "squeezenet": RESNET_MUON.with_(epochs=80, global_clipnorm=1.0, warmup_epochs=3.0),
        # 40 epochs: 90.85 % in 179 minutes on 2 cores of an AMD EPYC, beside other work.
        "nin": RESNET_MUON.with_(epochs=40, global_clipnorm=1.0, warmup_epochs=3.0),
        # 60 epochs: 81.56 % in 113 minutes on 2 cores of an AMD EPYC, beside other work. In 12 epochs it had 79.4 % of
        # held-out images, with cutout and the alternating flip 78.5.
        "small_alexnet": SMALL_MUON.with_(padding=4),
        # 40 epochs: 79.03 % in 133 minutes on 2 cores of an AMD EPYC, beside other work. In 4 epochs it had 63.2 % of
        # held-out images, with a learning rate of 0.03 56.5. Dense layers of 4,096 units are too large for Muon.
        "original_alexnet": Recipe(epochs=40, global_clipnorm=1.0, warmup_epochs=3.0),
        # 40 epochs: 77.49 % in 97 minutes on 2 cores of an AMD EPYC, beside other work. In 4 epochs a learning rate of
        # 0.03 gave 58.3 % of held-out images.
        "tanh_alexnet": Recipe(epochs=40, global_clipnorm=1.0, warmup_epochs=3.0),
        # 40 epochs: 89.43 % in 259 minutes on 2 cores of an AMD EPYC, beside other work. In 4 epochs it had 74.2 % of
        # held-out images, with a learning rate of 0.1 70.8. Dense layers of 2,048 units are too large for Muon.
        "alexnet": Recipe(epochs=40, learning_rate=0.03, warmup_epochs=3.0),
        # 40 epochs: 93.89 % in 295 minutes on 2 cores of an AMD EPYC, beside other work.
        "inception_v1": RESNET_MUON.with_(epochs=40),
        "resnet18": LARGE_BATCH_MUON,
        # 30 epochs: 95.40 and 95.65 % in 6 and 7 minutes on an H100 that other runs shared.
        **dict.fromkeys(("resnet50", "se_resnet50"), LARGE_BATCH_MUON.with_(epochs=30)),
    },
    "paper": {
        # The published accuracy belongs to this recipe and a network with an 11x11 stem.
        "alexnet": CNN_STEPS.with_(
            warmup_epochs=5.0, decay_epochs=(25, 40, 60, 75, 90), decay_factors=(0.5, 0.1, 0.02, 0.005, 0.001)
        ),
        "nin": CNN_STEPS.with_(l2=2e-4, decay_epochs=(35, 50, 75), decay_factors=(0.5, 0.1, 0.01)),
        "vgg16": CNN_STEPS.with_(decay_epochs=(56, 76, 91), decay_factors=(0.5, 0.1, 0.02)),
        "inception_v1": CNN_STEPS,
        "inception_v2": CNN_STEPS,
        "inception_v3": CNN,
        "inception_v4": CNN,
        "inception_resnet_v2": CNN.with_(epochs=150),
        "resnet18": CNN_WIDER.with_(epochs=150),
        "resnet50": CNN,
        "stochastic_depth": CNN,
        "dilated_conv": CNN,
        "fractalnet": CNN,
        "pyramidnet110": CNN,
        "squeezenet": CNN.with_(batch_size=32, learning_rate=0.05, warmup_epochs=4.9, warmup_start=0.02),
        "xception": CNN_WIDER,
        "resnext50": CNN_WIDER,
        "densenet121": CNN_WIDER,
        "densenet100": CNN_WIDER.with_(epochs=150),
        # Dropout as in the program; its author's remark beside the accuracy says 0.1.
        "wide_resnet28_10": CNN_WIDER.with_(epochs=150, dropout=0.3),
        "dual_path_net50": CNN_WIDER.with_(warmup_epochs=5.0),
        "dual_path_net92": CNN_WIDER.with_(warmup_epochs=5.0),
        "senet154": CNN_WIDER.with_(warmup_epochs=5.0),
        "shufflenet_v2": CNN.with_(warmup_epochs=5.0),
        "mobilenet_v3": CNN.with_(warmup_epochs=5.0),
        "se_resnet50": CNN.with_(warmup_epochs=5.0),
        "cbam_resnet50": CNN.with_(warmup_epochs=5.0),
        "efficientnet_b0": CNN.with_(warmup_epochs=5.0),
        "se_resnext50": CNN_WIDER.with_(epochs=120, warmup_epochs=5.0),
        "sknet50": CNN_WIDER.with_(warmup_epochs=10.0),
        "se_wide_resnet28_10": SE_WIDE.with_(dropout=0.2),
        **dict.fromkeys(("alex0", "alex1", "alex2", "alex3"), TUTORIAL.with_(epochs=256)),
        **dict.fromkeys(("tuto", "alex4"), TUTORIAL),
        "sandbox": SANDBOX,  # the others have no hidden dense layer
        "wrn26_10": FLAX,
        "wrn26_6_shake_shake": FLAX,
        "pyramidnet272_shake_drop": FLAX.with_(epochs=300, decay_epochs=(150, 225), decay_factors=(0.1, 0.01), l2=1e-4),
        "original_alexnet": NOTES,  # 27,000 iterations of 128 images
        "tanh_alexnet": NOTES.with_(epochs=66),  # 25,800
        "small_alexnet": NOTES.with_(epochs=29),  # 11,400
        "resnet_cifar": RESNET,
        # The authors kept the learning rate at 0.01 for about 400 iterations, until the error fell.
        "resnet110": RESNET.with_(warmup_epochs=1.0, warmup_start=0.1),
    },
    "fast": {
        "airbench94": FAST,
        "airbench96": FAST.with_(epochs=40, learning_rate=1.17, padding=4, cutout=12),
    },
    "fast_muon": {"airbench94": FAST_MUON},
    # The recipe of the second row of the same network in the published table.
    "paper2": {"se_wide_resnet28_10": SE_WIDE.with_(epochs=220, dropout=0.1)},
}

# Source: ours, for pretrained networks (docs/finetuning.md). The learning rate is lower than from scratch. The gradient
# is clipped, as a new classifier begins with a large one. Early stopping takes the place of the EMA.
FINETUNE: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 32,
    "learning_rate": 0.02,
    "warmup_epochs": 1.0,
    "optimizer": "sgd",
    "sgd_lr_multiplier": 1.0,
    "l2": 5e-4,
    "global_clipnorm": 1.0,
    "alternating_flip": False,
    "class_weight": "balanced",
    "patience": 8,
    "ema_decay": None,
}


def finetuning_recipe(network: str | None = None) -> Recipe:
    """Return the recipe for fine-tuning a network, which has the augmentation of its recipe "zoo".

    Args:
        network: a registered name, or None for a network that is not registered.

    Raises:
        CifarZooError: for a name that is not registered.
    """
    return find_recipe("zoo", network).with_(**FINETUNE)


def recipes_for(network: str | None) -> dict[str, Recipe]:
    """Return the recipes for a network by name: its own, or else those of its family, or else the common ones.

    Args:
        network: a registered name, or None for a network that is not registered.

    Raises:
        CifarZooError: for a name that is not registered.
    """
    keys = [""]
    if network is not None:
        info = model_info(network)
        keys = [info.name, info.family, ""]
    found = {name: next((table[key] for key in keys if key in table), None) for name, table in RECIPES.items()}
    return {name: recipe for name, recipe in found.items() if recipe is not None}


def find_recipe(name: str, network: str | None = None) -> Recipe:
    """Return a recipe by its name.

    Args:
        name: the name of the recipe, such as "zoo".
        network: a registered name, or None for a network that is not registered.

    Raises:
        CifarZooError: if there is no such recipe for the network.
    """
    recipes = recipes_for(network)
    if name not in recipes:
        whose = f" for {network or 'networks of your own'}" if name in RECIPES else ""
        raise CifarZooError(f"there is no recipe {name!r}{whose}; there are {', '.join(recipes)}")
    return recipes[name]
