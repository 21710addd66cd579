"""Dense, dual path, compact and fractal networks against the same layers written in PyTorch from their description."""

import importlib

import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo import layers as zoo_layers


class Reference:
    """Layers of torch.nn.functional with the weights of a network, by the names of its layers."""

    def __init__(self, model):
        self.torch = pytest.importorskip("torch")
        self.f = self.torch.nn.functional
        self.weights = {
            layer.name: [self.torch.from_numpy(ops.convert_to_numpy(weight).copy()) for weight in layer.weights]
            for layer in model.layers
        }

    def same(self, x, size, stride, value=0.0):
        """Padded as TensorFlow does, with the odd pixel below and on the right."""
        total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
        (top, bottom), (left, right) = ((pad // 2, pad - pad // 2) for pad in total)
        return self.f.pad(x, (left, right, top, bottom), value=value)

    def convolve(self, x, kernel, bias=None, stride=1, groups=1):
        x = self.same(x, kernel.shape[0], stride)
        return self.f.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, groups=groups)

    def conv(self, x, name, stride=1, groups=1):
        return self.convolve(x, *self.weights[f"{name}_conv"], stride=stride, groups=groups)

    def depthwise(self, x, kernel, stride=1):
        return self.convolve(x, kernel.permute(0, 1, 3, 2), stride=stride, groups=x.shape[1])

    def bn(self, x, name):
        gamma, beta, mean, variance = self.weights[f"{name}_bn"]
        return self.f.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

    def bn_relu(self, x, name):
        return self.f.relu(self.bn(x, name))

    def max_pool(self, x, size, stride):
        return self.f.max_pool2d(self.same(x, size, stride, -float("inf")), size, stride)

    def dense(self, x, name):
        kernel, bias = self.weights[name]
        return x @ kernel + bias

    def squeeze_excite(self, x, name, activation, gate):
        """Of a layer with two dense kernels, with or without biases."""
        weights = [weight.reshape(weight.shape[-2:]) for weight in self.weights[name] if weight.ndim > 1]
        biases = [weight for weight in self.weights[name] if weight.ndim == 1] or [0, 0]
        y = activation(x.mean((2, 3)) @ weights[0] + biases[0])
        return x * gate(y @ weights[1] + biases[1])[:, :, None, None]


def densenet100(r, x):
    x = r.bn_relu(r.conv(x, "stem"), "stem")
    for block in (1, 2, 3):
        for layer in range(1, 17):
            name = f"stage{block}_unit{layer}"
            y = r.conv(r.bn_relu(x, f"{name}_1"), f"{name}_1")
            assert y.shape[1] == 96
            y = r.conv(r.bn_relu(y, f"{name}_2"), f"{name}_2")
            x = r.torch.cat([x, y], 1)
        assert x.shape[1:3] == {1: (432, 32), 2: (600, 16), 3: (792, 8)}[block]
        if block < 3:
            name = f"transition{block}"
            x = r.f.avg_pool2d(r.conv(r.bn_relu(x, name), name), 2)
            assert x.shape[1] == {1: 216, 2: 408}[block]
    return r.dense(r.bn_relu(x, "final").mean((2, 3)), "classifier")


def dual_path_net50(r, x):
    def whole(x, name, stride=1):
        """The two 1x1 convolutions of a fork as one."""
        parts = [r.weights[f"{name}_{path}_conv"] for path in ("residual", "dense")]
        kernel, bias = (r.torch.cat(part, -1) for part in zip(*parts, strict=True))
        return r.convolve(x, kernel, bias, stride)

    x = r.bn_relu(r.conv(x, "stem"), "stem")
    for stage, (units, width, growth) in enumerate(
        ((3, 256, 16), (4, 512, 32), (6, 1024, 64), (3, 2048, 128)), start=1
    ):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if stage > 1 and unit == 1 else 1
            y = r.conv(r.bn_relu(x, f"{name}_1"), f"{name}_1")
            y = r.conv(r.bn_relu(y, f"{name}_2"), f"{name}_2", stride, groups=32)
            y = whole(r.bn_relu(y, f"{name}_3"), f"{name}_3")
            assert y.shape[1] == width + growth
            if unit == 1:
                x = whole(x, f"stage{stage}_shortcut", stride)
            x = r.torch.cat([x[:, :width] + y[:, :width], x[:, width:], y[:, width:]], 1)
    x = r.bn_relu(x, "final")
    assert x.shape[1:] == (2560, 4, 4)
    return r.dense((x.mean((2, 3)) + x.amax((2, 3))) / 2, "classifier")


def shufflenet_v2(r, x):
    def depthwise_bn(x, name, stride):
        return r.bn(r.depthwise(x, *r.weights[f"{name}_conv"], stride), name)

    x = r.bn_relu(r.conv(x, "stem"), "stem")
    for stage, (units, width) in enumerate(((4, 116), (8, 232), (4, 464)), start=2):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if unit == 1 else 1
            if unit > 1:
                x, other = x.chunk(2, 1)
            else:
                other = depthwise_bn(x, f"{name}_other_depthwise", 2)
                other = r.bn_relu(r.conv(other, f"{name}_other_1"), f"{name}_other_1")
            x = r.bn_relu(r.conv(x, f"{name}_1"), f"{name}_1")
            x = depthwise_bn(x, f"{name}_depthwise", stride)
            x = r.bn_relu(r.conv(x, f"{name}_2"), f"{name}_2")
            x = r.torch.cat([x, other], 1)
            assert x.shape[1] == width
            x = x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
    return r.dense(r.f.relu(r.conv(x, "final")).mean((2, 3)), "classifier")


def mobilenet_v3(r, x):
    blocks = (
        "5 120 40 se relu6 1",
        "5 120 40 se relu6 1",
        "3 240 80 - hardswish 2",
        "3 200 80 - hardswish 1",
        "3 184 80 - hardswish 1",
        "3 184 80 - hardswish 1",
        "3 480 112 se hardswish 1",
        "3 672 112 se hardswish 1",
        "5 672 160 se hardswish 2",
        "5 960 160 se hardswish 1",
        "5 960 160 se hardswish 1",
    )
    x = r.f.relu6(r.bn(r.conv(x, "stem"), "stem"))
    for number, block in enumerate(blocks, start=1):
        size, expand, width, excite, activation, stride = block.split()
        activation, name = getattr(r.f, activation), f"block{number}"
        y = activation(r.bn(r.conv(x, f"{name}_expand"), f"{name}_expand"))
        (kernel,) = r.weights[f"{name}_depthwise_conv"]
        assert kernel.shape[:3] == (int(size), int(size), int(expand))
        y = activation(r.bn(r.depthwise(y, kernel, int(stride)), f"{name}_depthwise"))
        if excite == "se":
            assert r.weights[f"{name}_se"][0].shape[-1] == int(expand) // 4
            y = r.squeeze_excite(y, f"{name}_se", r.f.relu6, r.f.hardsigmoid)
        y = r.bn(r.conv(y, f"{name}_project"), f"{name}_project")
        assert y.shape[1] == int(width)
        x = x + y if x.shape == y.shape else y
    x = r.f.hardswish(r.bn(r.conv(x, "final"), "final"))
    return r.dense(r.f.hardswish(r.dense(x.mean((2, 3)), "head_dense")), "classifier")


def efficientnet_b0(r, x):
    x = r.f.silu(r.bn(r.conv(x, "stem"), "stem"))
    index = 0
    for width, size, expand, repeats, stride in (
        (16, 3, 1, 1, 1),
        (24, 3, 6, 2, 1),
        (40, 5, 6, 2, 2),
        (80, 3, 6, 3, 2),
        (112, 5, 6, 3, 1),
        (192, 5, 6, 4, 2),
        (320, 3, 6, 1, 1),
    ):
        for repeat in range(repeats):
            keep, index = 1 - 0.2 * index / 16, index + 1
            name, y = f"block{index}", x
            if expand > 1:
                y = r.f.silu(r.bn(r.conv(y, f"{name}_expand"), f"{name}_expand"))
            (kernel,) = r.weights[f"{name}_depthwise_conv"]
            assert kernel.shape[:3] == (size, size, expand * x.shape[1])
            y = r.f.silu(r.bn(r.depthwise(y, kernel, 1 if repeat else stride), f"{name}_depthwise"))
            y = r.squeeze_excite(y, f"{name}_se", r.f.silu, r.torch.sigmoid)
            y = r.bn(r.conv(y, f"{name}_project"), f"{name}_project")
            assert y.shape[1] == width
            x = x + keep * y if repeat else y
    x = r.f.silu(r.bn(r.conv(x, "final"), "final"))
    assert x.shape[1:] == (1280, 4, 4)
    return r.dense(x.mean((2, 3)), "classifier")


def xception(r, x):
    def separable(x, name):
        depth, point, bias = r.weights[f"{name}_conv"]
        return r.convolve(r.depthwise(x, depth), point, bias)

    x = r.bn_relu(r.conv(x, "stem"), "stem")
    for name in ("entry", *(f"middle{number}" for number in range(1, 9)), "exit"):
        y = x
        for number in (1, 2, 3) if "middle" in name else (1, 2):
            y = separable(r.bn_relu(y, f"{name}_{number}"), f"{name}_{number}")
        x = x + y if "middle" in name else r.conv(x, f"{name}_shortcut", 2) + r.max_pool(r.bn(y, name), 3, 2)
        assert x.shape[1] == (256 if name == "exit" else 182)
    for name in ("exit_3", "exit_4"):
        x = r.bn_relu(separable(x, name), name)
    return r.dense(x.mean((2, 3)), "classifier")


def fractalnet(r, x):
    def unit(x, name):
        return r.bn_relu(r.conv(x, name), name)

    for stage in range(1, 6):
        u = [None, *(lambda x, name=f"stage{stage}_unit{number}": unit(x, name) for number in range(1, 8))]
        half = (u[2](u[1](x)) + u[3](x)) / 2
        x = r.f.max_pool2d((u[6](u[5](half)) + u[4](half) + u[7](x)) / 3, 2)
    return r.dense(x.flatten(1), "classifier")


def scramble(model):
    """Random biases and batch-norm weights, as of a trained network."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            scales = weight.path.endswith(("gamma", "moving_variance"))
            weight.assign(random.uniform(0.8, 1.2, weight.shape) if scales else random.normal(0, 0.1, weight.shape))


def pictures(count):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype="uint8")


REFERENCES = {
    "shufflenet_v2": shufflenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "xception": xception,
    "efficientnet_b0": efficientnet_b0,
    "densenet100": densenet100,
    "dual_path_net50": dual_path_net50,
    "fractalnet": fractalnet,
}
QUICK = ("shufflenet_v2", "mobilenet_v3", "xception")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.full]) for name in REFERENCES]
)
def test_logits_are_those_of_the_reference(name):
    model = cifar_zoo.create_model(name, classifier_activation=None)
    scramble(model)
    x = pictures(3)
    reference = Reference(model)
    mean, std = (125.307, 122.95, 113.865), (62.9932, 62.0887, 66.7048)
    normalised = reference.torch.from_numpy(((x - mean) / std).astype("float32")).permute(0, 3, 1, 2)
    expected = REFERENCES[name](reference, normalised).detach().numpy()
    result = ops.convert_to_numpy(model(x))
    assert expected.std() > 1e-2  # the signal arrives
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def densenet_parameters(growth, units, transitions):
    """By arithmetic: trainable parameters and two statistics for each channel of a batch norm."""

    def norm(channels):
        return 4 * channels

    channels = 2 * growth
    total = 28 * channels + norm(channels)
    for index, count in enumerate(units):
        for _ in range(count):
            total += norm(channels) + (channels + 1) * 4 * growth + norm(4 * growth) + (36 * growth + 1) * growth
            channels += growth
        if index < len(transitions):
            total += norm(channels) + (channels + 1) * transitions[index]
            channels = transitions[index]
    return total + norm(channels) + (channels + 1) * 10


@pytest.mark.parametrize(
    "name, growth, units, transitions, papers",
    [
        ("densenet100", 24, (16, 16, 16), (216, 408), (216, 300)),
        ("densenet121", 32, (6, 12, 24, 16), (128, 320, 704), (128, 256, 512)),
    ],
)
def test_what_densenet_would_count_with_the_papers_compression(name, growth, units, transitions, papers):
    info = cifar_zoo.model_info(name)
    assert info.params == densenet_parameters(growth, units, transitions)
    assert f"{densenet_parameters(growth, units, papers):,} parameters" in info.build.__doc__


def test_shufflenet_never_mixes_pictures():
    """Five pictures, which no shuffle across pictures could divide, give the logits that each of them has alone."""
    model = cifar_zoo.create_model("shufflenet_v2", classifier_activation=None)
    x = pictures(5)
    alone = np.concatenate([ops.convert_to_numpy(model(x[i : i + 1])) for i in range(5)])
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


def test_global_drop_path_leaves_one_column_of_fractalnet(monkeypatch):
    """Without the other columns the result is the same; without one unit of its own it is not."""
    own = {0: (1, 2, 5, 6), 1: (3, 4), 2: (7,)}
    monkeypatch.setattr(importlib.import_module("cifar_zoo.models.fractalnet"), "WIDTHS", (8,) * 5)
    model = cifar_zoo.create_model("fractalnet", classifier_activation=None)
    x = pictures(2)
    kernels = {
        (stage, unit): (variable := model.get_layer(f"stage{stage}_unit{unit}_conv").kernel, ops.copy(variable))
        for stage in range(1, 6)
        for unit in range(1, 8)
    }

    def result(silenced):
        for place, (variable, value) in kernels.items():
            variable.assign(ops.zeros_like(value) if place in silenced else value)
        return ops.convert_to_numpy(model(x, training=True))

    for column, units in own.items():
        monkeypatch.setattr(
            zoo_layers.DrawColumn,
            "call",
            lambda self, x, training=False, column=column: ops.full((ops.shape(x)[0],), column, dtype="int32"),
        )
        expected = result(silenced=set())
        np.testing.assert_array_equal(result({place for place in kernels if place[1] not in units}), expected)
        for unit in units:
            assert not np.allclose(result({(3, unit)}), expected)
