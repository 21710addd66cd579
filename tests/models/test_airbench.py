"""The networks of airbench against the same layers written in PyTorch from their description."""

import keras
import numpy as np
import pytest
from reference import F, compare, convolve, dense

import cifar_zoo
from cifar_zoo import layers


def norm(net, x, name):
    beta, mean, variance = net.weights[f"{name}_bn"]
    return F.batch_norm(x, mean, variance, None, beta, eps=1e-5)


def airbench(net, x, widths, deep):
    bias, kernel = net.weights["whitening"]
    x = F.gelu(convolve(x, kernel, bias, padding="valid"))
    assert x.shape[1:] == (24, 31, 31)
    for number, filters in enumerate(widths, start=1):
        first, second, third = (f"stage{number}_{unit}" for unit in (1, 2, 3))
        x = F.max_pool2d(net.conv(x, first, size=3, filters=filters), 2)
        x = shortcut = F.gelu(norm(net, x, first))
        x = norm(net, net.conv(x, second, size=3, filters=filters), second)
        if deep:
            x = shortcut + norm(net, net.conv(F.gelu(x), third, size=3, filters=filters), third)
        x = F.gelu(x)
        assert x.shape[2:] == ((15, 15), (7, 7), (3, 3))[number - 1]
    return dense(x.amax((2, 3)), *net.weights["classifier"]) / 9


@pytest.mark.parametrize(
    "name, widths, deep",
    [
        ("airbench94", (64, 256, 256), False),
        pytest.param("airbench96", (128, 512, 512), True, marks=pytest.mark.full),
    ],
)
def test_network_is_its_description(name, widths, deep):
    model = cifar_zoo.create_model(name, classifier_activation=None)
    compare(model, lambda net, x: airbench(net, x, widths, deep), gain=2)


def test_every_convolution_begins_by_passing_its_input_on():
    model = cifar_zoo.models.airbench94()
    kernels = {layer.name: keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers if "_conv" in layer.name}
    assert len(kernels) == 6
    for name, kernel in kernels.items():
        channels, filters = kernel.shape[2:]
        passing = min(channels, filters)
        expected = np.zeros((3, 3, channels, passing))
        expected[1, 1] = np.eye(channels)[:, :passing]
        np.testing.assert_array_equal(kernel[..., :passing], expected, err_msg=name)


def test_batch_norm_has_no_scale_and_forgets_fast():
    norms = [layer for layer in cifar_zoo.models.airbench96().layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 9
    assert {(norm.momentum, norm.scale, norm.center) for norm in norms} == {(0.6, False, True)}
