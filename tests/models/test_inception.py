"""The Inception networks against plain PyTorch, written from their layer lists."""

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo

torch = pytest.importorskip("torch")
F = torch.nn.functional


def randomise(model, random):
    """Weights at which every layer matters, batch-norm statistics included."""
    for weight in model.weights:
        shape = tuple(weight.shape)
        if len(shape) > 1:
            weight.assign(random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
        else:
            weight.assign(ops.convert_to_numpy(weight) + random.uniform(-0.2, 0.2, shape))


class Net:
    """The layers of a network in PyTorch, by name, with its weights; pictures are (batch, channels, height, width)."""

    def __init__(self, model):
        self.weights = {layer.name: [torch.tensor(w) for w in layer.get_weights()] for layer in model.layers}

    def conv(self, x, name, filters, size):
        kernel, bias = self.weights[f"{name}_conv"]
        height, width = size if isinstance(size, tuple) else (size, size)
        assert tuple(kernel.shape) == (height, width, x.shape[1], filters), name
        return kernel.permute(3, 2, 0, 1), bias

    def bn_relu(self, x, name):
        gamma, beta, mean, variance = self.weights[f"{name}_bn"]
        return F.relu(F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3))

    def cbr(self, x, name, filters, size):
        return self.bn_relu(F.conv2d(x, *self.conv(x, name, filters, size), padding="same"), name)

    def halve(self, x, name, filters, padding):
        """A 3x3 convolution at stride 2, which TensorFlow pads to the right and the bottom."""
        y = F.pad(x, (0, 1, 0, 1)) if padding == "same" else x
        return self.bn_relu(F.conv2d(y, *self.conv(x, name, filters, 3), stride=2), name)

    def chain(self, x, name, *steps):
        for number, (size, filters) in enumerate(steps, start=1):
            x = self.cbr(x, f"{name}_{number}", filters, size)
        return x

    def head(self, x):
        kernel, bias = self.weights["classifier"]
        return x.mean((2, 3)) @ kernel + bias


def max_pool_half(x, padding):
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1)) if padding == "same" else x, 3, 2)


def pool(x, kind):
    if kind == "max":
        return F.max_pool2d(x, 3, 1, 1)
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def cat(*parts):
    return torch.cat(parts, dim=1)


def inception_v1(net, x):
    def block(x, name, a, b, d, e, f, g):
        return cat(
            net.cbr(x, f"{name}_branch1_1", a, 1),
            net.chain(x, f"{name}_branch2", (1, b), (3, d)),
            net.chain(x, f"{name}_branch3", (1, e), (5, f)),
            net.cbr(pool(x, "max"), f"{name}_branch4_2", g, 1),
        )

    x = net.cbr(x, "stem", 32, 3)
    x = block(x, "stage1_unit1", 16, 24, 32, 4, 8, 8)
    x = block(x, "stage1_unit2", 32, 32, 48, 8, 16, 16)
    x = max_pool_half(x, "same")
    x = block(x, "stage2_unit2", 48, 24, 52, 4, 12, 16)
    x = block(x, "stage2_unit3", 40, 28, 56, 6, 16, 16)
    x = block(x, "stage2_unit4", 32, 32, 64, 6, 16, 16)
    x = block(x, "stage2_unit5", 28, 36, 72, 8, 16, 16)
    x = block(x, "stage2_unit6", 64, 40, 80, 8, 32, 32)
    x = max_pool_half(x, "same")
    x = block(x, "stage3_unit2", 64, 40, 80, 8, 32, 32)
    return net.head(block(x, "stage3_unit3", 96, 48, 96, 12, 32, 32))


def double_block(net, x, name, a, b, d, e, f, g, kind="avg"):
    return cat(
        net.cbr(x, f"{name}_branch1_1", a, 1),
        net.chain(x, f"{name}_branch2", (1, b), (3, d)),
        net.chain(x, f"{name}_branch3", (1, e), (3, f), (3, f)),
        net.cbr(pool(x, kind), f"{name}_branch4_2", g, 1),
    )


def reduction(net, x, name, b, d, e, f, last, padding):
    short = net.cbr(x, f"{name}_branch1_1", b, 1)
    long = net.chain(x, f"{name}_branch2", (1, e), (3, f))
    return cat(
        net.halve(short, f"{name}_branch1_2", d, padding),
        net.halve(long, f"{name}_branch2_3", last, padding),
        max_pool_half(x, padding),
    )


def inception_v2(net, x):
    x = net.cbr(x, "stem", 32, 3)
    x = double_block(net, x, "stage1_unit1", 16, 16, 16, 16, 24, 8)
    x = double_block(net, x, "stage1_unit2", 16, 16, 24, 16, 24, 16)
    x = reduction(net, x, "stage2_unit1", 32, 40, 16, 24, 24, "same")
    x = double_block(net, x, "stage2_unit2", 56, 16, 24, 24, 32, 32)
    x = double_block(net, x, "stage2_unit3", 48, 24, 32, 24, 32, 32)
    x = double_block(net, x, "stage2_unit4", 40, 32, 40, 32, 40, 32)
    x = double_block(net, x, "stage2_unit5", 24, 32, 48, 40, 48, 32)
    x = reduction(net, x, "stage3_unit1", 32, 48, 48, 64, 64, "same")
    x = double_block(net, x, "stage3_unit2", 88, 48, 80, 40, 56, 32)
    return net.head(double_block(net, x, "stage3_unit3", 88, 48, 80, 48, 56, 32, "max"))


def side_by_side(net, x, name, width):
    return cat(net.cbr(x, f"{name}a", width, (1, 3)), net.cbr(x, f"{name}b", width, (3, 1)))


def inception_v3(net, x):
    x = net.cbr(x, "stem", 32, 3)
    x = double_block(net, x, "stage1_unit1", 16, 12, 16, 16, 24, 8)
    for unit in (2, 3):
        x = double_block(net, x, f"stage1_unit{unit}", 16, 12, 16, 16, 24, 16)
    x = reduction(net, x, "stage2_unit1", 48, 96, 16, 24, 24, "valid")
    for unit, w in enumerate((32, 40, 40, 48), start=2):
        name, row, column = f"stage2_unit{unit}_branch", (1, 3), (3, 1)
        x = cat(
            net.cbr(x, f"{name}1_1", 48, 1),
            net.chain(x, f"{name}2", (1, w), (row, w), (column, 48)),
            net.chain(x, f"{name}3", (1, w), (row, w), (column, w), (row, w), (column, 48)),
            net.cbr(pool(x, "avg"), f"{name}4_2", 48, 1),
        )
    x = reduction(net, x, "stage3_unit1", 48, 80, 48, 48, 48, "valid")
    for unit in (2, 3):
        name = f"stage3_unit{unit}_branch"
        x = cat(
            net.cbr(x, f"{name}1_1", 80, 1),
            side_by_side(net, net.chain(x, f"{name}2", (1, 96)), f"{name}2_2", 96),
            side_by_side(net, net.chain(x, f"{name}3", (1, 112), (3, 96)), f"{name}3_3", 96),
            net.cbr(pool(x, "avg"), f"{name}4_2", 48, 1),
        )
    return net.head(x)


def inception_v4(net, x):
    x = net.cbr(x, "stem", 32, 3)
    for unit in range(1, 5):
        name = f"stage1_unit{unit}_branch"
        x = cat(
            net.cbr(x, f"{name}1_1", 24, 1),
            net.chain(x, f"{name}2", (1, 16), (3, 24)),
            net.chain(x, f"{name}3", (1, 16), (3, 24), (3, 24)),
            net.cbr(pool(x, "avg"), f"{name}4_2", 24, 1),
        )
    long = net.chain(x, "stage2_unit1_branch2", (1, 48), (3, 56))
    x = cat(
        net.halve(x, "stage2_unit1_branch1_1", 96, "valid"),
        net.halve(long, "stage2_unit1_branch2_3", 64, "valid"),
        max_pool_half(x, "valid"),
    )
    row, column = (1, 7), (7, 1)
    for unit in range(2, 9):
        name = f"stage2_unit{unit}_branch"
        x = cat(
            net.cbr(x, f"{name}1_1", 96, 1),
            net.chain(x, f"{name}2", (1, 48), (row, 56), (column, 64)),
            net.chain(x, f"{name}3", (1, 48), (row, 48), (column, 56), (row, 56), (column, 64)),
            net.cbr(pool(x, "avg"), f"{name}4_2", 32, 1),
        )
    short = net.chain(x, "stage3_unit1_branch1", (1, 48))
    long = net.chain(x, "stage3_unit1_branch2", (1, 64), (row, 64), (column, 80))
    x = cat(
        net.halve(short, "stage3_unit1_branch1_2", 48, "valid"),
        net.halve(long, "stage3_unit1_branch2_4", 80, "valid"),
        max_pool_half(x, "valid"),
    )
    for unit in range(2, 5):
        name = f"stage3_unit{unit}_branch"
        long = net.chain(x, f"{name}3", (1, 96), ((1, 3), 112), ((3, 1), 128))
        x = cat(
            net.cbr(x, f"{name}1_1", 64, 1),
            side_by_side(net, net.chain(x, f"{name}2", (1, 96)), f"{name}2_2", 64),
            side_by_side(net, long, f"{name}3_4", 64),
            net.cbr(pool(x, "avg"), f"{name}4_2", 64, 1),
        )
    return net.head(x)


def inception_resnet_v2(net, x):
    def residual(x, name, *branches):
        ends = [net.chain(x, f"{name}_branch{number}", *steps) for number, steps in enumerate(branches, start=1)]
        y = cat(*ends)
        y = F.conv2d(y, *net.conv(y, f"{name}_project", x.shape[1], 1))
        return net.bn_relu(x + y, name)

    x = net.cbr(x, "stem", 96, 3)
    for unit in range(1, 6):
        name = f"stage1_unit{unit}"
        x = residual(x, name, [(1, 8)], [(1, 8), (3, 8)], [(1, 8), (3, 12), (3, 16)])
    long = net.chain(x, "stage2_reduction_branch2", (1, 64), (3, 64))
    x = cat(
        net.halve(x, "stage2_reduction_branch1_1", 96, "valid"),
        net.halve(long, "stage2_reduction_branch2_3", 96, "valid"),
        max_pool_half(x, "valid"),
    )
    for unit in range(1, 11):
        x = residual(x, f"stage2_unit{unit}", [(1, 48)], [(1, 32), ((1, 7), 40), ((7, 1), 48)])
    first = net.chain(x, "stage3_reduction_branch1", (1, 64))
    second = net.chain(x, "stage3_reduction_branch2", (1, 64))
    third = net.chain(x, "stage3_reduction_branch3", (1, 64), (3, 72))
    x = cat(
        net.halve(first, "stage3_reduction_branch1_2", 96, "valid"),
        net.halve(second, "stage3_reduction_branch2_2", 72, "valid"),
        net.halve(third, "stage3_reduction_branch3_3", 80, "valid"),
        max_pool_half(x, "valid"),
    )
    for unit in range(1, 6):
        x = residual(x, f"stage3_unit{unit}", [(1, 48)], [(1, 48), ((1, 3), 56), ((3, 1), 64)])
    return net.head(x)


@pytest.mark.parametrize(
    "reference",
    [
        inception_v1,
        pytest.param(inception_v2, marks=pytest.mark.full),
        pytest.param(inception_v3, marks=pytest.mark.full),
        pytest.param(inception_v4, marks=pytest.mark.full),
        pytest.param(inception_resnet_v2, marks=pytest.mark.full),
    ],
    ids=lambda reference: reference.__name__,
)
def test_logits_are_those_of_the_layer_list(reference):
    model = cifar_zoo.create_model(reference.__name__, classifier_activation=None, include_preprocessing=False)
    random = np.random.default_rng(0)
    randomise(model, random)
    x = random.normal(size=(3, 32, 32, 3)).astype("float32")
    expected = reference(Net(model), torch.tensor(x).permute(0, 3, 1, 2)).numpy()
    assert expected.std(axis=0).mean() > 2e-3 * np.abs(expected).max()  # the pictures differ, and so do their logits
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name, shapes",
    [
        ("inception_v1", [(32, 112), (16, 208), (8, 256)]),
        ("inception_v2", [(32, 80), (16, 152), (8, 256)]),
        ("inception_v3", [(32, 72), (15, 192), (7, 512)]),
        ("inception_v4", [(32, 96), (15, 256), (7, 384)]),
        ("inception_resnet_v2", [(32, 96), (15, 288), (7, 536)]),
    ],
)
def test_stages(name, shapes):
    with keras.StatelessScope():
        ends = cifar_zoo.create_model(name, features=True).output
    assert [end.shape[2:] for end in ends.values()] == shapes


def test_batch_norm_channels_of_inception_resnet_v2():
    """Every batch-norm channel has two numbers that training does not change."""
    units = 5 * (8 + 16 + 36 + 96), 10 * (48 + 120 + 288), 5 * (48 + 168 + 536)
    reductions = 96 + 64 + 64 + 96, 64 + 96 + 64 + 72 + 64 + 72 + 80
    info = cifar_zoo.model_info("inception_resnet_v2")
    assert info.params - info.trainable == 2 * (96 + sum(units) + sum(reductions))
