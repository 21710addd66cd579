"""Dense, dual path, compact and fractal networks against the same layers written in PyTorch from their description."""

import importlib

import numpy as np
import pytest
from keras import ops
from reference import F, compare, convolve, convolve_depthwise, torch

import cifar_zoo
from cifar_zoo import layers as zoo_layers


def densenet100(net, x):
    x = net.conv_bn_act(x, "stem")
    for block in (1, 2, 3):
        for layer in range(1, 17):
            name = f"stage{block}_unit{layer}"
            y = net.bn_act_conv(x, f"{name}_1", filters=96)
            x = torch.cat([x, net.bn_act_conv(y, f"{name}_2")], 1)
        assert x.shape[1:3] == {1: (432, 32), 2: (600, 16), 3: (792, 8)}[block]
        if block < 3:
            name = f"transition{block}"
            x = F.avg_pool2d(net.bn_act_conv(x, name), 2)
            assert x.shape[1] == {1: 216, 2: 408}[block]
    return net.head(net.bn_act(x, "final"))


def dual_path_net50(net, x):
    def whole(x, name, stride=1):
        """The two 1x1 convolutions of a fork as one."""
        parts = [net.weights[f"{name}_{path}_conv"] for path in ("residual", "dense")]
        kernel, bias = (torch.cat(part, -1) for part in zip(*parts, strict=True))
        return convolve(x, kernel, bias, stride)

    x = net.conv_bn_act(x, "stem")
    for stage, (units, width, growth) in enumerate(
        ((3, 256, 16), (4, 512, 32), (6, 1024, 64), (3, 2048, 128)), start=1
    ):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if stage > 1 and unit == 1 else 1
            y = net.bn_act_conv(x, f"{name}_1")
            y = net.bn_act_conv(y, f"{name}_2", stride, groups=32)
            y = whole(net.bn_act(y, f"{name}_3"), f"{name}_3")
            assert y.shape[1] == width + growth
            if unit == 1:
                x = whole(x, f"stage{stage}_shortcut", stride)
            x = torch.cat([x[:, :width] + y[:, :width], x[:, width:], y[:, width:]], 1)
    x = net.bn_act(x, "final")
    assert x.shape[1:] == (2560, 4, 4)
    return net.dense((x.mean((2, 3)) + x.amax((2, 3))) / 2, "classifier")


def shufflenet_v2(net, x):
    x = net.conv_bn_act(x, "stem")
    for stage, (units, width) in enumerate(((4, 116), (8, 232), (4, 464)), start=2):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if unit == 1 else 1
            if unit > 1:
                x, other = x.chunk(2, 1)
            else:
                other = net.bn(net.depthwise(x, f"{name}_other_depthwise", 2), f"{name}_other_depthwise")
                other = net.conv_bn_act(other, f"{name}_other_1")
            x = net.conv_bn_act(x, f"{name}_1")
            x = net.bn(net.depthwise(x, f"{name}_depthwise", stride), f"{name}_depthwise")
            x = net.conv_bn_act(x, f"{name}_2")
            x = torch.cat([x, other], 1)
            assert x.shape[1] == width
            x = x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
    return net.head(F.relu(net.conv(x, "final")))


def mobilenet_v3(net, x):
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
    x = net.conv_bn_act(x, "stem", "relu6")
    for number, block in enumerate(blocks, start=1):
        size, expand, width, excite, activation, stride = block.split()
        name = f"block{number}"
        y = net.conv_bn_act(x, f"{name}_expand", activation, filters=int(expand))
        y = net.depthwise(y, f"{name}_depthwise", int(stride), int(size))
        y = net.bn_act(y, f"{name}_depthwise", activation)
        if excite == "se":
            assert net.weights[f"{name}_se"][0].shape[-1] == int(expand) // 4
            y = net.squeeze_excite(y, name, "relu6", "hardsigmoid")
        y = net.bn(net.conv(y, f"{name}_project", filters=int(width)), f"{name}_project")
        x = x + y if x.shape == y.shape else y
    x = net.conv_bn_act(x, "final", "hardswish")
    return net.dense(F.hardswish(net.dense(x.mean((2, 3)), "head_dense")), "classifier")


def efficientnet_b0(net, x):
    x = net.conv_bn_act(x, "stem", "silu")
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
                y = net.conv_bn_act(y, f"{name}_expand", "silu", filters=expand * x.shape[1])
            y = net.depthwise(y, f"{name}_depthwise", 1 if repeat else stride, size)
            y = net.bn_act(y, f"{name}_depthwise", "silu")
            y = net.squeeze_excite(y, name, "silu")
            y = net.bn(net.conv(y, f"{name}_project", filters=width), f"{name}_project")
            x = x + keep * y if repeat else y
    x = net.conv_bn_act(x, "final", "silu")
    assert x.shape[1:] == (1280, 4, 4)
    return net.head(x)


def xception(net, x):
    def separable(x, name):
        depth, point, bias = net.weights[f"{name}_conv"]
        return convolve(convolve_depthwise(x, depth), point, bias)

    x = net.conv_bn_act(x, "stem")
    for name in ("entry", *(f"middle{number}" for number in range(1, 9)), "exit"):
        y = x
        for number in (1, 2, 3) if "middle" in name else (1, 2):
            y = separable(net.bn_act(y, f"{name}_{number}"), f"{name}_{number}")
        x = x + y if "middle" in name else net.conv(x, f"{name}_shortcut", 2) + net.max_pool(net.bn(y, name), 3, 2)
        assert x.shape[1] == (256 if name == "exit" else 182)
    for name in ("exit_3", "exit_4"):
        x = net.bn_act(separable(x, name), name)
    return net.head(x)


def fractalnet(net, x):
    for stage in range(1, 6):
        u = [None, *(lambda x, name=f"stage{stage}_unit{number}": net.conv_bn_act(x, name) for number in range(1, 8))]
        half = (u[2](u[1](x)) + u[3](x)) / 2
        x = F.max_pool2d((u[6](u[5](half)) + u[4](half) + u[7](x)) / 3, 2)
    return net.dense(x.flatten(1), "classifier")


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype="uint8")


@pytest.mark.parametrize(
    "reference, gain",
    [
        (shufflenet_v2, 1.5),
        (mobilenet_v3, 1.5),
        (xception, 1),
        pytest.param(efficientnet_b0, 2, marks=pytest.mark.full),
        pytest.param(densenet100, 2, marks=pytest.mark.full),
        pytest.param(dual_path_net50, 1, marks=pytest.mark.full),
        pytest.param(fractalnet, 2, marks=pytest.mark.full),
    ],
)
def test_logits_are_those_of_the_reference(reference, gain):
    compare(cifar_zoo.create_model(reference.__name__, classifier_activation=None), reference, gain)


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


def test_shufflenet_never_mixes_images():
    """Five images, which no shuffle across images could divide, give the logits that each of them has alone."""
    model = cifar_zoo.create_model("shufflenet_v2", classifier_activation=None)
    x = images(5)
    alone = np.concatenate([ops.convert_to_numpy(model(x[i : i + 1])) for i in range(5)])
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


def test_global_drop_path_leaves_one_column_of_fractalnet(monkeypatch):
    """Without the other columns the result is the same; without one unit of its own it is not."""
    own = {0: (1, 2, 5, 6), 1: (3, 4), 2: (7,)}
    monkeypatch.setattr(importlib.import_module("cifar_zoo.models.fractalnet"), "WIDTHS", (8,) * 5)
    model = cifar_zoo.create_model("fractalnet", classifier_activation=None)
    x = images(2)
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
