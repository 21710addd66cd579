"""Networks of plain convolutions (AlexNet, NIN, VGG, dilated) against PyTorch, written from their layer lists."""

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

    def conv(self, x, name, shape, **options):
        """A convolution at stride 1; `shape` is (side, filters)."""
        kernel, bias = self.weights[name]
        side, filters = shape
        assert tuple(kernel.shape) == (side, side, x.shape[1], filters), name
        return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, **{"padding": "same", **options})

    def bn(self, x, name):
        gamma, beta, mean, variance = self.weights[name]
        return F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

    def dense(self, x, name, units):
        kernel, bias = self.weights[name]
        assert tuple(kernel.shape) == (x.shape[1], units), name
        return x @ kernel + bias


def flatten(x):
    """In the order of the Keras networks: height, width, channels."""
    return x.permute(0, 2, 3, 1).flatten(1)


def pool_same(x):
    """3x3 at stride 2; TensorFlow pads even sides to the right and the bottom."""
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)


def alexnet(net, x):
    x = F.max_pool2d(F.relu(net.bn(net.conv(x, "conv1", (3, 96), padding=0), "conv1_bn")), 3, 2)
    x = F.max_pool2d(F.relu(net.bn(net.conv(x, "conv2", (3, 256), padding=0), "conv2_bn")), 3, 2)
    for name, filters in (("conv3", 384), ("conv4", 384), ("conv5", 256)):
        x = F.relu(net.conv(x, name, (3, filters)))
    x = flatten(F.max_pool2d(x, 3, 2))
    for name in ("dense1", "dense2"):
        x = F.relu(net.dense(x, name, 2048))
    return net.dense(x, "classifier", 10)


def paper_alexnet(net, x, widths=(100, 100, 384, 384, 256), units=(4096, 4096), activation=F.relu):
    def norm(x):  # PyTorch divides the sum of squares by the size of the window
        return F.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2.0)

    x = F.pad(x, (3, 4, 3, 4))
    x = pool_same(norm(activation(net.conv(x, "conv1", (11, widths[0]), stride=4, padding=0))))
    x = pool_same(norm(activation(net.conv(x, "conv2", (5, widths[1])))))
    for name, filters in zip(("conv3", "conv4", "conv5"), widths[2:], strict=True):
        x = activation(net.conv(x, name, (3, filters)))
    x = flatten(x)
    for number, width in enumerate(units, start=1):
        x = activation(net.dense(x, f"dense{number}", width))
    return net.dense(x, "classifier", 10)


def tanh_alexnet(net, x):
    return paper_alexnet(net, x, activation=torch.tanh)


def small_alexnet(net, x):
    return paper_alexnet(net, x, (64, 192, 384, 256, 256), (384, 192))


def nin(net, x):
    def cbr(x, name, side, filters):
        return F.relu(net.bn(net.conv(x, f"{name}_conv", (side, filters)), f"{name}_bn"))

    x = cbr(cbr(cbr(x, "stage1_1", 5, 192), "stage1_2", 1, 160), "stage1_3", 1, 96)
    x = pool_same(x)
    x = cbr(cbr(cbr(x, "stage2_1", 5, 192), "stage2_2", 1, 192), "stage2_3", 1, 192)
    x = pool_same(x)
    x = cbr(cbr(x, "stage3_1", 3, 192), "stage3_2", 1, 192)
    return net.bn(net.conv(x, "classifier", (1, 10)), "classifier_bn").mean((2, 3))


def vgg16(net, x):
    for number, widths in enumerate(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), start=1):
        for unit, filters in enumerate(widths, start=1):
            name = f"stage{number}_{unit}"
            x = F.relu(net.bn(net.conv(x, f"{name}_conv", (3, filters)), f"{name}_bn"))
        x = F.max_pool2d(x, 2)
    x = flatten(x)
    for name in ("dense1", "dense2"):
        x = F.relu(net.bn(net.dense(x, name, 4096), f"{name}_bn"))
    return net.dense(x, "classifier", 10)


def dilated_conv(net, x):
    for unit, filters in enumerate((16, 32, 64, 128, 256), start=1):
        name = f"stage1_unit{unit}"
        y = x
        for rate in (1, 2, 3):
            y = net.conv(y, f"{name}_{rate}_conv", (3, filters), dilation=rate)
            if rate < 3:
                y = F.relu(net.bn(y, f"{name}_{rate}_bn"))
        x = F.relu(net.bn(y + net.conv(x, f"{name}_shortcut_conv", (1, filters)), f"{name}_bn"))
    return net.dense(x.mean((2, 3)), "classifier", 10)


@pytest.mark.parametrize(
    "name, reference",
    [
        ("alexnet", alexnet),
        pytest.param("original_alexnet", paper_alexnet, marks=pytest.mark.full),
        pytest.param("tanh_alexnet", tanh_alexnet, marks=pytest.mark.full),
        ("small_alexnet", small_alexnet),
        ("nin", nin),
        pytest.param("vgg16", vgg16, marks=pytest.mark.full),
        ("dilated_conv", dilated_conv),
    ],
)
def test_logits_are_those_of_the_layer_list(name, reference):
    model = cifar_zoo.create_model(name, classifier_activation=None, include_preprocessing=False)
    random = np.random.default_rng(0)
    randomise(model, random)
    x = random.normal(size=(3, 32, 32, 3)).astype("float32")
    expected = reference(Net(model), torch.tensor(x).permute(0, 3, 1, 2)).numpy()
    assert expected.std(axis=0).mean() > 2e-3 * np.abs(expected).max()  # the pictures differ, and so do their logits
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


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
def test_pictures_that_come_to_nothing_are_refused(name, side):
    with pytest.raises(cifar_zoo.CifarZooError, match=rf"{name} cannot be built for input_shape=\({side}, {side}, 3\)"):
        cifar_zoo.create_model(name, input_shape=(side, side, 3))


def test_the_class_scores_of_nin_have_both_signs():
    model = cifar_zoo.create_model("nin", classifier_activation=None)
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    scores = ops.convert_to_numpy(model(x, training=True))
    assert scores.min() < 0 < scores.max()
