"""PyTorch layers for reference implementations of networks, and the comparison of a network with its reference.

Images are (batch, channels, height, width) here; kernels stay as Keras lays them out.
"""

import numpy as np
import pytest

try:
    import torch

    F = torch.nn.functional
except ImportError:  # `compare` then skips its test
    torch = F = None

MEAN, STD = (125.307, 122.95, 113.865), (62.9932, 62.0887, 66.7048)


class Reference:
    """Layers in PyTorch with the weights of a network, by the names of its layers; paddings are TensorFlow's."""

    def __init__(self, model):
        self.weights = {layer.name: [torch.tensor(w) for w in layer.get_weights()] for layer in model.layers}

    def conv(self, x, name, stride=1, dilation=1, groups=1, padding="same", size=None, filters=None):
        """The layer "<name>_conv", or "<name>", of this kernel size and so many filters."""
        kernel, *bias = self.weights[f"{name}_conv" if f"{name}_conv" in self.weights else name]
        assert size is None or tuple(kernel.shape[:2]) == (size if isinstance(size, tuple) else (size, size)), name
        assert filters is None or kernel.shape[3] == filters, name
        return convolve(x, kernel, *bias, stride=stride, dilation=dilation, groups=groups, padding=padding)

    def depthwise(self, x, name, stride=1, size=None):
        (kernel,) = self.weights[f"{name}_conv"]
        assert size is None or tuple(kernel.shape[:2]) == (size, size), name
        return convolve_depthwise(x, kernel, stride)

    def bn(self, x, name, epsilon=1e-3):
        gamma, beta, mean, variance = self.weights[f"{name}_bn"]
        return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)

    def bn_act(self, x, name, activation="relu", epsilon=1e-3):
        return getattr(F, activation)(self.bn(x, name, epsilon))

    def conv_bn_act(self, x, name, activation="relu", **options):
        return self.bn_act(self.conv(x, name, **options), name, activation)

    def bn_act_conv(self, x, name, stride=1, activation="relu", epsilon=1e-3, **options):
        return self.conv(self.bn_act(x, name, activation, epsilon), name, stride, **options)

    def max_pool(self, x, size, stride, padding="same"):
        return F.max_pool2d(
            pad_same(x, (size, size), stride, value=-torch.inf) if padding == "same" else x, size, stride
        )

    def avg_pool(self, x, size, stride):
        """With "same" padding, which does not count in the average."""
        total, count = (F.avg_pool2d(pad_same(y, (size, size), stride), size, stride) for y in (x, torch.ones_like(x)))
        return total / count

    def squeeze_excite(self, x, name, activation="relu", gate="sigmoid"):
        weights = self.weights[f"{name}_se"]
        reduce, expand = weights[: len(weights) // 2], weights[len(weights) // 2 :]  # with or without biases
        hidden = getattr(F, activation)(dense(x.mean((2, 3)), *reduce))
        return x * getattr(F, gate)(dense(hidden, *expand))[..., None, None]

    def dense(self, x, name, units=None):
        kernel, bias = self.weights[name]
        assert units is None or kernel.shape[1] == units, name
        return dense(x, kernel, bias)

    def head(self, x):
        """Global average pooling and the classifier of ten classes."""
        return self.dense(x.mean((2, 3)), "classifier", 10)


def pad_same(x, size, stride=1, dilation=1, value=0.0):
    """What is odd goes to the right and the bottom."""
    padding = []
    for length, extent in zip(x.shape[:1:-1], size[::-1], strict=True):
        total = max((-(-length // stride) - 1) * stride + (extent - 1) * dilation + 1 - length, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)


def convolve(x, kernel, bias=None, stride=1, dilation=1, groups=1, padding="same"):
    if padding == "same":
        x = pad_same(x, kernel.shape[:2], stride, dilation)
    return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, dilation=dilation, groups=groups)


def convolve_depthwise(x, kernel, stride=1):
    return convolve(x, kernel.permute(0, 1, 3, 2), stride=stride, groups=x.shape[1])


def dense(x, kernel, bias=None):
    return F.linear(x, kernel.T, bias)


def flatten(x):
    """In the order of the Keras networks: height, width, channels."""
    return x.permute(0, 2, 3, 1).flatten(1)


def randomize(model, gain):
    """Weights at which every layer matters, biases and batch-norm statistics included.

    A kernel takes the variance times `gain`. With 2, He's, a deep chain of ReLUs does not fade; with 1, a deep sum of
    branches does not explode.
    """
    random = np.random.default_rng(0)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if len(shape) > 1:
            inputs = shape[:2] if shape[3:] == (1,) else shape[:-1]  # of a depthwise kernel, or of another
            weight.assign(random.normal(0, np.sqrt(gain / np.prod(inputs)), shape))
        elif weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(random.uniform(0.5, 1.5, shape))
        else:
            weight.assign(random.normal(0, 0.2, shape))


def compare(model, reference, gain):
    """Assert that a network does what its reference does, to 1e-4, with random weights on random images.

    The network takes pixels; `reference(Reference(model), x)` takes them standardized and gives logits or features.
    """
    pytest.importorskip("torch")
    randomize(model, gain)
    x = np.random.default_rng(1).integers(0, 256, (3, *model.input_shape[1:]), dtype="uint8")
    with torch.no_grad():
        expected = reference(Reference(model), torch.tensor(((x - MEAN) / STD).astype("float32")).permute(0, 3, 1, 2))
    expected = (expected.permute(0, 2, 3, 1) if expected.ndim == 4 else expected).numpy()
    largest = np.abs(expected).max()
    assert expected.std(axis=0).mean() > 2e-3 * largest  # the images differ, and so do their logits
    assert largest < 1e3  # or the biases would not show
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-4, atol=1e-4 * largest)
