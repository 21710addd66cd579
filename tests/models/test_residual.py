"""The residual families against PyTorch programs of the same networks, written from the papers' layer lists."""

import re
from functools import cache, partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from reference import F, compare, convolve, dense, torch

import cifar_zoo
from cifar_zoo.evaluation.costs import abstract_model
from cifar_zoo.models import blocks, preact_resnet, pyramidnet, resnext, shake_shake, sknet, wide_resnet
from cifar_zoo.models.build import normalize


def units_of(*counts):
    """The name, the stride and the index from 0 of each unit."""
    index = 0
    for stage, count in enumerate(counts, start=1):
        for unit in range(1, count + 1):
            yield f"stage{stage}_unit{unit}", 2 if stage > 1 and unit == 1 else 1, index
            index += 1


# Residual functions of a unit: (net, x, name, stride) -> branch.


def basic(net, x, name, stride, activation="relu"):
    x = net.bn_act_conv(x, f"{name}_1", stride, activation)
    return net.bn_act_conv(x, f"{name}_2", activation=activation)


def bottleneck(net, x, name, stride):
    x = net.bn_act_conv(x, f"{name}_1", stride)
    x = net.bn_act_conv(x, f"{name}_2")
    return net.bn_act_conv(x, f"{name}_3")


def grouped(net, x, name, stride, groups=32):
    x = net.bn_act_conv(x, f"{name}_1")
    x = net.bn_act_conv(x, f"{name}_2", stride, groups=groups)
    return net.bn_act_conv(x, f"{name}_3")


def selective(net, x, name, stride):
    x = net.bn_act_conv(x, f"{name}_1")
    x = net.bn_act(x, f"{name}_2")
    narrow = net.conv(x, f"{name}_narrow", stride, groups=32)
    size, dilation = (5, 1) if stride == 2 else (3, 2)
    wide = net.conv(x, f"{name}_wide", stride, dilation, groups=32, size=size)
    narrow = net.bn_act(narrow, f"{name}_narrow")
    wide = net.bn_act(wide, f"{name}_wide")
    reduce, gamma, beta, mean, variance, select, bias = net.weights[f"{name}_sk"]
    channels, units = reduce.shape
    assert units == max(channels // 16, 32)
    z = dense((narrow + wide).mean((2, 3)), reduce)
    z = F.relu(F.batch_norm(z, mean, variance, gamma, beta, eps=1e-3))
    scores = dense(z, select, bias)[:, :, None, None]
    first, second = torch.softmax(torch.stack([scores[:, :channels], scores[:, channels:]]), 0)
    return net.conv(first * narrow + second * wide, f"{name}_3")


# What acts on the branch: (net, branch, name, index) -> branch.


def squeeze_excite(net, x, name, index, activation="relu"):
    return net.squeeze_excite(x, name, activation)


def cbam(net, x, name, index):
    reduce, reduce_bias, expand, expand_bias, kernel, bias = net.weights[f"{name}_cbam"]
    scores = [
        dense(F.relu(dense(pooled, reduce, reduce_bias)), expand, expand_bias)
        for pooled in (x.mean((2, 3)), x.amax((2, 3)))
    ]
    x = x * torch.sigmoid(sum(scores))[..., None, None]
    both = torch.stack([x.mean(1), x.amax(1)], 1)
    assert tuple(kernel.shape) == (7, 7, 2, 1)
    return x * torch.sigmoid(convolve(both, kernel, bias))


def keep(net, x, name, index):
    return x * (1 - index / 32)


# Whole networks without the classifier: (net, x) -> feature map.


def shortcut(net, x, name, stride):
    return net.conv(x, f"{name}_shortcut", stride) if f"{name}_shortcut_conv" in net.weights else x


def preact(net, x, counts, branch, gate=None, activation="relu"):
    x = net.conv_bn_act(x, "stem", activation)
    for name, stride, index in units_of(*counts):
        y = branch(net, x, name, stride)
        if gate is not None:
            y = gate(net, y, name, index)
        x = y + shortcut(net, x, name, stride)
    return net.bn_act(x, "final", activation)


def wide_flax(net, x, stages=3):
    x = net.conv(x, "stem")
    for name, stride, _ in units_of(*[4] * stages):
        y = net.bn_act_conv(x, f"{name}_1", stride, epsilon=1e-5)
        y = net.bn_act_conv(y, f"{name}_2", epsilon=1e-5)
        x = y + shortcut(net, x, name, stride)
    return net.bn_act(x, "final", epsilon=1e-5)


def shaken(net, x, stages=3):
    x = net.conv(x, "stem")
    for name, stride, _ in units_of(*[4] * stages):
        branches = []
        for side in ("left", "right"):
            y = net.bn(net.conv(F.relu(x), f"{name}_{side}_1", stride), f"{name}_{side}_1", 1e-5)
            branches.append(net.bn(net.conv(F.relu(y), f"{name}_{side}_2"), f"{name}_{side}_2", 1e-5))
        if name.endswith("unit1"):
            x = net.bn(net.conv(x, f"{name}_shortcut", stride), f"{name}_shortcut", 1e-5)
        x = x + sum(branches) / 2
    return F.relu(x)


def pyramid(net, x, count, epsilon, stem_relu=False, keep=lambda unit: 1):
    x = net.bn(net.conv(x, "stem"), "stem", epsilon)
    x = F.relu(x) if stem_relu else x
    for name, stride, index in units_of(count, count, count):
        y = net.conv(net.bn(x, f"{name}_1", epsilon), f"{name}_1")
        y = net.bn_act_conv(y, f"{name}_2", stride, epsilon=epsilon)
        y = net.bn_act_conv(y, f"{name}_3", epsilon=epsilon)
        y = net.bn(y, f"{name}_4", epsilon) * keep(index + 1)
        if stride == 2:
            x = net.avg_pool(x, 2, 2)
        x = y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
    return net.bn_act(x, "final", epsilon=epsilon)


def small(branch, units=(1, 2), widths=(8, 16), stem=8, **options):
    return lambda: blocks.preact_trunk(branch, units, widths, stem=stem, **options)


SILU = {
    "branch": partial(basic, activation="silu"),
    "gate": partial(squeeze_excite, activation="silu"),
    "activation": "silu",
}
PREACT = partial(preact, counts=(1, 2))
PYRAMID = SimpleNamespace(
    plain=lambda: pyramidnet.pyramid_trunk(
        [4, 6, 9], use_bias=False, kernel_initializer="he_normal", epsilon=1e-3, stem_relu=True
    ),
    dropped=lambda: pyramidnet.pyramid_trunk(
        [4, 6, 9], use_bias=True, kernel_initializer="lecun_normal", epsilon=1e-5, shake_drop=True
    ),
)
TRUNKS = {
    "basic": (small(preact_resnet.basic), partial(PREACT, branch=basic)),
    "bottleneck": (small(preact_resnet.bottleneck), partial(PREACT, branch=bottleneck)),
    "stochastic_depth": (
        small(preact_resnet.bottleneck, gate=preact_resnet.drop_branch),
        partial(PREACT, branch=bottleneck, gate=keep),
    ),
    "se": (
        small(preact_resnet.bottleneck, gate=blocks.squeeze_excite),
        partial(PREACT, branch=bottleneck, gate=squeeze_excite),
    ),
    "cbam": (
        small(preact_resnet.bottleneck, gate=preact_resnet.cbam),
        partial(PREACT, branch=bottleneck, gate=cbam),
    ),
    "resnext": (
        small(partial(resnext.grouped_bottleneck, groups=4), stem_bias=False),
        partial(PREACT, branch=partial(grouped, groups=4)),
    ),
    "sknet": (
        small(sknet.selective_branch, widths=(32, 64), stem_bias=False),
        partial(PREACT, branch=selective),
    ),
    "wide": (small(wide_resnet.wide_branch, stem=4), partial(PREACT, branch=basic)),
    "se_wide": (
        small(
            partial(wide_resnet.wide_branch, activation="silu"),
            widths=(16, 32),
            stem_bias=False,
            activation="silu",
            gate=wide_resnet.swish_excite,
        ),
        partial(PREACT, **SILU),
    ),
    "wide_flax": (lambda: wide_resnet.flax_trunk((8, 12)), partial(wide_flax, stages=2)),
    "shake_shake": (lambda: shake_shake.shake_shake_trunk((8, 12)), partial(shaken, stages=2)),
    "pyramid": (PYRAMID.plain, partial(pyramid, count=1, epsilon=1e-3, stem_relu=True)),
    "shake_drop": (PYRAMID.dropped, partial(pyramid, count=1, epsilon=1e-5, keep=lambda unit: 1 - 0.5 * unit / 3)),
}


def last_map(stages):
    return list(stages.values())[-1]


@pytest.mark.parametrize("name", TRUNKS)
def test_narrow_trunks_against_pytorch(name):
    trunk, reference = TRUNKS[name]
    inputs = keras.Input((9, 9, 3))  # an odd side, where paddings differ most
    compare(keras.Model(inputs, last_map(trunk()(normalize(inputs)))), reference, gain=1)


RESNET50 = partial(preact, counts=(3, 4, 6, 3))
WIDE = partial(preact, counts=(4, 4, 4))
NETWORKS = {
    "resnet18": partial(preact, counts=(2, 2, 2, 2), branch=basic),
    "resnet50": partial(RESNET50, branch=bottleneck),
    "stochastic_depth": partial(RESNET50, branch=bottleneck, gate=keep),
    "se_resnet50": partial(RESNET50, branch=bottleneck, gate=squeeze_excite),
    "cbam_resnet50": partial(RESNET50, branch=bottleneck, gate=cbam),
    "resnext50": partial(RESNET50, branch=grouped),
    "se_resnext50": partial(RESNET50, branch=grouped, gate=squeeze_excite),
    "sknet50": partial(RESNET50, branch=selective),
    "wide_resnet28_10": partial(WIDE, branch=basic),
    "se_wide_resnet28_10": partial(WIDE, **SILU),
    "wrn26_10": wide_flax,
    "wrn26_6_shake_shake": shaken,
    "pyramidnet110": partial(pyramid, count=12, epsilon=1e-3, stem_relu=True),
    "pyramidnet272_shake_drop": partial(pyramid, count=30, epsilon=1e-5, keep=lambda unit: 1 - 0.5 * unit / 90),
}


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_against_pytorch(name):
    model = cifar_zoo.create_model(name, classifier_activation=None)
    gain = 0.7 if name == "pyramidnet272_shake_drop" else 1  # a sum of 90 branches explodes even at 1
    compare(model, lambda net, x: net.head(NETWORKS[name](net, x)), gain)


structure = cache(abstract_model)  # no weights: for looking at


@pytest.mark.parametrize(
    "name, channels",
    [
        ("resnet20", (16, 32, 64)),
        ("resnet18", (64, 128, 256, 512)),
        ("resnet50", (256, 512, 1024, 2048)),
        ("resnext50", (256, 512, 1024, 2048)),
        ("senet154", (1024, 2048, 4096, 8192)),
        ("sknet50", (128, 256, 512, 1024)),
        ("wide_resnet28_10", (160, 320, 640)),
        ("wrn26_10", (160, 320, 640)),
        ("wrn26_6_shake_shake", (96, 192, 384)),
        ("pyramidnet110", (4 * 77, 4 * 143, 4 * 210)),
        ("pyramidnet272_shake_drop", (4 * 82, 4 * 149, 4 * 216)),
    ],
)
def test_stages(name, channels):
    marks = [structure(name).get_layer(f"stage{number}").output for number in range(1, len(channels) + 1)]
    assert [mark.shape for mark in marks] == list(
        zip([None] * 4, (32, 16, 8, 4), (32, 16, 8, 4), channels, strict=False)
    )
    assert len([layer for layer in structure(name).layers if re.fullmatch(r"stage\d+", layer.name)]) == len(marks)


def test_keep_probabilities_of_stochastic_depth():
    model = structure("stochastic_depth")
    found = [layer.keep_probability for layer in model.layers if layer.name.endswith("_drop")]
    np.testing.assert_allclose(found, [1 - index / 32 for index in range(16)])


def test_keep_probabilities_of_shake_drop():
    model = structure("pyramidnet272_shake_drop")
    found = [layer for layer in model.layers if layer.name.endswith("_shake_drop")]
    np.testing.assert_allclose(
        [layer.keep_probability for layer in found], [1 - 0.5 * unit / 90 for unit in range(1, 91)]
    )
    assert {(layer.alpha, layer.beta) for layer in found} == {((-1, 1), (0, 1))}


def pyramid_widths(name):
    return [layer.filters for layer in structure(name).layers if layer.name.endswith("_2_conv")]


def test_widths_of_the_pyramids():
    assert pyramid_widths("pyramidnet110") == [16 + (200 * (unit - 1)) // 36 for unit in range(1, 37)]
    widths = pyramid_widths("pyramidnet272_shake_drop")
    exact = [16 + (200 * unit) // 90 for unit in range(1, 91)]
    assert {unit: width for unit, width in enumerate(widths, start=1) if width != exact[unit - 1]} == {9: 35, 18: 55}


@pytest.mark.parametrize("name", [*NETWORKS, "senet154"])
def test_epsilons_initializers_and_biases(name):
    model = structure(name)
    flax = name in ("wrn26_10", "wrn26_6_shake_shake", "pyramidnet272_shake_drop")
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5 if flax else 1e-3)}
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    initializers = {type(conv.kernel_initializer).__name__ for conv in convs}
    assert initializers == {"LecunNormal" if flax else "HeNormal"}
    if flax:
        assert all(conv.use_bias for conv in convs)
        assert type(model.get_layer("classifier").kernel_initializer).__name__ == "LecunNormal"


@pytest.mark.parametrize("name", ["stochastic_depth", "shake_drop", "shake_shake"])
def test_each_image_has_draws_of_its_own_at_every_step(name):
    keras.utils.set_random_seed(0)  # else few draws may be alike
    trunk = TRUNKS[name][0]()
    if name == "stochastic_depth":
        trunk = small(preact_resnet.bottleneck, (3, 4, 6, 3), (4, 8, 12, 16), gate=preact_resnet.drop_branch)()
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, last_map(trunk(inputs)))
    x = np.repeat(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), 16, axis=0).astype("float32")
    first, second = (ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
    assert len(np.unique(first.round(4), axis=0)) > 8
    assert not np.allclose(first, second)
    still = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(still, still[:1].repeat(16, axis=0), rtol=1e-4, atol=1e-5)
