"""The Inception networks against plain PyTorch, written from their layer lists."""

import keras
import pytest
from reference import compare, torch

import cifar_zoo


def chain(net, x, name, *steps):
    for number, (size, filters) in enumerate(steps, start=1):
        x = net.conv_bn_act(x, f"{name}_{number}", size=size, filters=filters)
    return x


def halve(net, x, name, filters, padding):
    return net.conv_bn_act(x, name, stride=2, size=3, filters=filters, padding=padding)


def cat(*parts):
    return torch.cat(parts, dim=1)


def inception_v1(net, x):
    def block(x, name, a, b, d, e, f, g):
        return cat(
            chain(net, x, f"{name}_branch1", (1, a)),
            chain(net, x, f"{name}_branch2", (1, b), (3, d)),
            chain(net, x, f"{name}_branch3", (1, e), (5, f)),
            net.conv_bn_act(net.max_pool(x, 3, 1), f"{name}_branch4_2", size=1, filters=g),
        )

    x = net.conv_bn_act(x, "stem", size=3, filters=32)
    x = block(x, "stage1_unit1", 16, 24, 32, 4, 8, 8)
    x = block(x, "stage1_unit2", 32, 32, 48, 8, 16, 16)
    x = net.max_pool(x, 3, 2)
    x = block(x, "stage2_unit2", 48, 24, 52, 4, 12, 16)
    x = block(x, "stage2_unit3", 40, 28, 56, 6, 16, 16)
    x = block(x, "stage2_unit4", 32, 32, 64, 6, 16, 16)
    x = block(x, "stage2_unit5", 28, 36, 72, 8, 16, 16)
    x = block(x, "stage2_unit6", 64, 40, 80, 8, 32, 32)
    x = net.max_pool(x, 3, 2)
    x = block(x, "stage3_unit2", 64, 40, 80, 8, 32, 32)
    return net.head(block(x, "stage3_unit3", 96, 48, 96, 12, 32, 32))


def double_block(net, x, name, a, b, d, e, f, g, pool="avg_pool"):
    return cat(
        chain(net, x, f"{name}_branch1", (1, a)),
        chain(net, x, f"{name}_branch2", (1, b), (3, d)),
        chain(net, x, f"{name}_branch3", (1, e), (3, f), (3, f)),
        net.conv_bn_act(getattr(net, pool)(x, 3, 1), f"{name}_branch4_2", size=1, filters=g),
    )


def reduction(net, x, name, b, d, e, f, last, padding):
    short = chain(net, x, f"{name}_branch1", (1, b))
    long = chain(net, x, f"{name}_branch2", (1, e), (3, f))
    return cat(
        halve(net, short, f"{name}_branch1_2", d, padding),
        halve(net, long, f"{name}_branch2_3", last, padding),
        net.max_pool(x, 3, 2, padding),
    )


def inception_v2(net, x):
    x = net.conv_bn_act(x, "stem", size=3, filters=32)
    x = double_block(net, x, "stage1_unit1", 16, 16, 16, 16, 24, 8)
    x = double_block(net, x, "stage1_unit2", 16, 16, 24, 16, 24, 16)
    x = reduction(net, x, "stage2_unit1", 32, 40, 16, 24, 24, "same")
    x = double_block(net, x, "stage2_unit2", 56, 16, 24, 24, 32, 32)
    x = double_block(net, x, "stage2_unit3", 48, 24, 32, 24, 32, 32)
    x = double_block(net, x, "stage2_unit4", 40, 32, 40, 32, 40, 32)
    x = double_block(net, x, "stage2_unit5", 24, 32, 48, 40, 48, 32)
    x = reduction(net, x, "stage3_unit1", 32, 48, 48, 64, 64, "same")
    x = double_block(net, x, "stage3_unit2", 88, 48, 80, 40, 56, 32)
    return net.head(double_block(net, x, "stage3_unit3", 88, 48, 80, 48, 56, 32, pool="max_pool"))


def side_by_side(net, x, name, width):
    return cat(
        net.conv_bn_act(x, f"{name}a", size=(1, 3), filters=width),
        net.conv_bn_act(x, f"{name}b", size=(3, 1), filters=width),
    )


def inception_v3(net, x):
    x = net.conv_bn_act(x, "stem", size=3, filters=32)
    x = double_block(net, x, "stage1_unit1", 16, 12, 16, 16, 24, 8)
    for unit in (2, 3):
        x = double_block(net, x, f"stage1_unit{unit}", 16, 12, 16, 16, 24, 16)
    x = reduction(net, x, "stage2_unit1", 48, 96, 16, 24, 24, "valid")
    for unit, w in enumerate((32, 40, 40, 48), start=2):
        name, row, column = f"stage2_unit{unit}_branch", (1, 3), (3, 1)
        x = cat(
            chain(net, x, f"{name}1", (1, 48)),
            chain(net, x, f"{name}2", (1, w), (row, w), (column, 48)),
            chain(net, x, f"{name}3", (1, w), (row, w), (column, w), (row, w), (column, 48)),
            net.conv_bn_act(net.avg_pool(x, 3, 1), f"{name}4_2", size=1, filters=48),
        )
    x = reduction(net, x, "stage3_unit1", 48, 80, 48, 48, 48, "valid")
    for unit in (2, 3):
        name = f"stage3_unit{unit}_branch"
        x = cat(
            chain(net, x, f"{name}1", (1, 80)),
            side_by_side(net, chain(net, x, f"{name}2", (1, 96)), f"{name}2_2", 96),
            side_by_side(net, chain(net, x, f"{name}3", (1, 112), (3, 96)), f"{name}3_3", 96),
            net.conv_bn_act(net.avg_pool(x, 3, 1), f"{name}4_2", size=1, filters=48),
        )
    return net.head(x)


def inception_v4(net, x):
    x = net.conv_bn_act(x, "stem", size=3, filters=32)
    for unit in range(1, 5):
        name = f"stage1_unit{unit}_branch"
        x = cat(
            chain(net, x, f"{name}1", (1, 24)),
            chain(net, x, f"{name}2", (1, 16), (3, 24)),
            chain(net, x, f"{name}3", (1, 16), (3, 24), (3, 24)),
            net.conv_bn_act(net.avg_pool(x, 3, 1), f"{name}4_2", size=1, filters=24),
        )
    long = chain(net, x, "stage2_unit1_branch2", (1, 48), (3, 56))
    x = cat(
        halve(net, x, "stage2_unit1_branch1_1", 96, "valid"),
        halve(net, long, "stage2_unit1_branch2_3", 64, "valid"),
        net.max_pool(x, 3, 2, "valid"),
    )
    row, column = (1, 7), (7, 1)
    for unit in range(2, 9):
        name = f"stage2_unit{unit}_branch"
        x = cat(
            chain(net, x, f"{name}1", (1, 96)),
            chain(net, x, f"{name}2", (1, 48), (row, 56), (column, 64)),
            chain(net, x, f"{name}3", (1, 48), (row, 48), (column, 56), (row, 56), (column, 64)),
            net.conv_bn_act(net.avg_pool(x, 3, 1), f"{name}4_2", size=1, filters=32),
        )
    short = chain(net, x, "stage3_unit1_branch1", (1, 48))
    long = chain(net, x, "stage3_unit1_branch2", (1, 64), (row, 64), (column, 80))
    x = cat(
        halve(net, short, "stage3_unit1_branch1_2", 48, "valid"),
        halve(net, long, "stage3_unit1_branch2_4", 80, "valid"),
        net.max_pool(x, 3, 2, "valid"),
    )
    for unit in range(2, 5):
        name = f"stage3_unit{unit}_branch"
        long = chain(net, x, f"{name}3", (1, 96), ((1, 3), 112), ((3, 1), 128))
        x = cat(
            chain(net, x, f"{name}1", (1, 64)),
            side_by_side(net, chain(net, x, f"{name}2", (1, 96)), f"{name}2_2", 64),
            side_by_side(net, long, f"{name}3_4", 64),
            net.conv_bn_act(net.avg_pool(x, 3, 1), f"{name}4_2", size=1, filters=64),
        )
    return net.head(x)


def inception_resnet_v2(net, x):
    def residual(x, name, *branches):
        ends = [chain(net, x, f"{name}_branch{number}", *steps) for number, steps in enumerate(branches, start=1)]
        return net.bn_act(x + net.conv(cat(*ends), f"{name}_project", size=1, filters=x.shape[1]), name)

    x = net.conv_bn_act(x, "stem", size=3, filters=96)
    for unit in range(1, 6):
        name = f"stage1_unit{unit}"
        x = residual(x, name, [(1, 8)], [(1, 8), (3, 8)], [(1, 8), (3, 12), (3, 16)])
    long = chain(net, x, "stage2_reduction_branch2", (1, 64), (3, 64))
    x = cat(
        halve(net, x, "stage2_reduction_branch1_1", 96, "valid"),
        halve(net, long, "stage2_reduction_branch2_3", 96, "valid"),
        net.max_pool(x, 3, 2, "valid"),
    )
    for unit in range(1, 11):
        x = residual(x, f"stage2_unit{unit}", [(1, 48)], [(1, 32), ((1, 7), 40), ((7, 1), 48)])
    first = chain(net, x, "stage3_reduction_branch1", (1, 64))
    second = chain(net, x, "stage3_reduction_branch2", (1, 64))
    third = chain(net, x, "stage3_reduction_branch3", (1, 64), (3, 72))
    x = cat(
        halve(net, first, "stage3_reduction_branch1_2", 96, "valid"),
        halve(net, second, "stage3_reduction_branch2_2", 72, "valid"),
        halve(net, third, "stage3_reduction_branch3_3", 80, "valid"),
        net.max_pool(x, 3, 2, "valid"),
    )
    for unit in range(1, 6):
        x = residual(x, f"stage3_unit{unit}", [(1, 48)], [(1, 48), ((1, 3), 56), ((3, 1), 64)])
    return net.head(x)


@pytest.mark.parametrize(
    "reference, gain",
    [
        (inception_v1, 2),
        pytest.param(inception_v2, 2, marks=pytest.mark.full),
        pytest.param(inception_v3, 2, marks=pytest.mark.full),
        pytest.param(inception_v4, 2, marks=pytest.mark.full),
        pytest.param(inception_resnet_v2, 1, marks=pytest.mark.full),
    ],
)
def test_logits_are_those_of_the_layer_list(reference, gain):
    compare(cifar_zoo.create_model(reference.__name__, classifier_activation=None), reference, gain)


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
