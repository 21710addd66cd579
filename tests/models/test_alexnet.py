"""Networks of plain convolutions (AlexNet, NIN, VGG, dilated) against PyTorch, written from their layer lists."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops
from reference import F, compare, flatten

import cifar_zoo


def alexnet(net, x):
    for name, filters in (("conv1", 96), ("conv2", 256)):
        x = F.max_pool2d(net.conv_bn_act(x, name, size=3, filters=filters, padding="valid"), 3, 2)
    for name, filters in (("conv3", 384), ("conv4", 384), ("conv5", 256)):
        x = F.relu(net.conv(x, name, size=3, filters=filters))
    x = flatten(F.max_pool2d(x, 3, 2))
    for name in ("dense1", "dense2"):
        x = F.relu(net.dense(x, name, 2048))
    return net.dense(x, "classifier", 10)


def paper_alexnet(net, x, widths=(100, 100, 384, 384, 256), units=(4096, 4096), activation="relu"):
    activation = getattr(F, activation)

    def norm(x):  # PyTorch divides the sum of squares by the size of the window
        return F.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2.0)

    x = net.max_pool(norm(activation(net.conv(x, "conv1", stride=4, size=11, filters=widths[0]))), 3, 2)
    x = net.max_pool(norm(activation(net.conv(x, "conv2", size=5, filters=widths[1]))), 3, 2)
    for name, filters in zip(("conv3", "conv4", "conv5"), widths[2:], strict=True):
        x = activation(net.conv(x, name, size=3, filters=filters))
    x = flatten(x)
    for number, width in enumerate(units, start=1):
        x = activation(net.dense(x, f"dense{number}", width))
    return net.dense(x, "classifier", 10)


def nin(net, x):
    def stage(x, name, *units):
        for unit, (size, filters) in enumerate(units, start=1):
            x = net.conv_bn_act(x, f"{name}_{unit}", size=size, filters=filters)
        return x

    x = net.max_pool(stage(x, "stage1", (5, 192), (1, 160), (1, 96)), 3, 2)
    x = net.max_pool(stage(x, "stage2", (5, 192), (1, 192), (1, 192)), 3, 2)
    x = stage(x, "stage3", (3, 192), (1, 192))
    return net.bn(net.conv(x, "classifier", size=1, filters=10), "classifier").mean((2, 3))


def vgg16(net, x):
    for number, widths in enumerate(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), start=1):
        for unit, filters in enumerate(widths, start=1):
            x = net.conv_bn_act(x, f"stage{number}_{unit}", size=3, filters=filters)
        x = F.max_pool2d(x, 2)
    x = flatten(x)
    for name in ("dense1", "dense2"):
        x = net.bn_act(net.dense(x, name, 4096), name)
    return net.dense(x, "classifier", 10)


def dilated_conv(net, x):
    for unit, filters in enumerate((16, 32, 64, 128, 256), start=1):
        name = f"stage1_unit{unit}"
        y = net.conv_bn_act(x, f"{name}_1", size=3, filters=filters)
        y = net.conv_bn_act(y, f"{name}_2", size=3, filters=filters, dilation=2)
        y = net.conv(y, f"{name}_3", size=3, filters=filters, dilation=3)
        x = net.bn_act(y + net.conv(x, f"{name}_shortcut", size=1, filters=filters), name)
    return net.head(x)


@pytest.mark.parametrize(
    "name, reference",
    [
        ("alexnet", alexnet),
        pytest.param("original_alexnet", paper_alexnet, marks=pytest.mark.full),
        pytest.param("tanh_alexnet", partial(paper_alexnet, activation="tanh"), marks=pytest.mark.full),
        ("small_alexnet", partial(paper_alexnet, widths=(64, 192, 384, 256, 256), units=(384, 192))),
        ("nin", nin),
        pytest.param("vgg16", vgg16, marks=pytest.mark.full),
        ("dilated_conv", dilated_conv),
    ],
)
def test_logits_are_those_of_the_layer_list(name, reference):
    compare(cifar_zoo.create_model(name, classifier_activation=None), reference, gain=2)


@pytest.mark.parametrize(
    "name, sides",
    [
        ("alexnet", [30, 12, 5]),
        ("original_alexnet", [8, 4, 2]),
        ("small_alexnet", [8, 4, 2]),
        ("nin", [32, 16, 8]),
        ("vgg16", [32, 16, 8, 4, 2]),
        ("dilated_conv", [32]),
    ],
)
def test_sides_of_the_stages(name, sides):
    with keras.StatelessScope():
        ends = cifar_zoo.create_model(name, features=True).output
    assert [end.shape[1] for end in ends.values()] == sides


@pytest.mark.parametrize("name, side", [("alexnet", 16), ("vgg16", 16)])
def test_images_that_come_to_nothing_are_refused(name, side):
    with pytest.raises(cifar_zoo.CifarZooError, match=rf"{name} cannot be built for input_shape=\({side}, {side}, 3\)"):
        cifar_zoo.create_model(name, input_shape=(side, side, 3))


def test_the_class_scores_of_nin_have_both_signs():
    model = cifar_zoo.create_model("nin", classifier_activation=None)
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    scores = ops.convert_to_numpy(model(x, training=True))
    assert scores.min() < 0 < scores.max()
