"""Costs from the graph against arithmetic and published figures."""

import json
import subprocess
import sys

import keras
import pytest

import cifar_zoo
from cifar_zoo.evaluation.costs import abstract_model, layer_table, sandbox_flops

# network -> millions of operations that the table of tensorsandbox quotes, at 24x24 and (by its formula) at 32x32
QUOTED = {
    "tuto": (37.745, 66.983), "alex0": (25.244, 44.758), "alex1": (43.511, 77.349), "alex2": (37.082, 65.804),
    "alex3": (37.601, 66.839), "alex4": (35.197, 62.453), "nin2": (251.363, 446.867), "squeeze1": (22.836, 40.597),
    "nin0": (46.213, None), "nin1": (69.327, None), "squeeze0": (16.039, None),
}  # fmt: skip


@pytest.mark.parametrize("name", QUOTED)
def test_the_operations_are_those_of_the_published_table(name):
    at_24, at_32 = QUOTED[name]
    assert sandbox_flops(abstract_model(name)) / 1e6 == pytest.approx(at_24, abs=5e-4)
    if at_32:
        assert sandbox_flops(abstract_model(name, input_shape=(32, 32, 3))) / 1e6 == pytest.approx(at_32, abs=5e-4)


def test_multiply_adds_of_resnet20_by_arithmetic():
    expected = 32 * 32 * 9 * 3 * 16 + 64 * 10
    for side, before, width in ((32, 16, 16), (16, 16, 32), (8, 32, 64)):
        expected += side * side * (9 * before * width + 5 * 9 * width * width)
        expected += side * side * before * width * (before != width)
    table = layer_table("resnet20")
    assert sum(row.multiply_adds for row in table) == expected == 40_813_184
    assert sum(row.params for row in table) == cifar_zoo.model_info("resnet20").params


def test_parts_of_layers_count_where_they_are_used():
    inputs = keras.Input((8, 6, 32))
    x = keras.layers.SeparableConv2D(10, 3, strides=2, padding="same", name="separable")(inputs)
    x = keras.layers.Conv2D(20, 3, groups=5, padding="valid", name="grouped")(x)
    x = cifar_zoo.layers.SqueezeExcite(units=4, name="se")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    outputs = keras.layers.Dense(7, name="dense")(x)
    rows = {row.name: row for row in layer_table(keras.Model(inputs, outputs))}
    assert rows["separable"].multiply_adds == 4 * 3 * (9 * 32 + 32 * 10)
    assert rows["grouped"].multiply_adds == 2 * 1 * 9 * 2 * 20
    assert rows["se"].multiply_adds == 20 * 4 * 2
    assert rows["depthwise"].multiply_adds == 2 * 1 * 9 * 20 * 2
    assert rows["dense"].multiply_adds == 2 * 1 * 40 * 7
    assert rows["grouped"].output_shape == (2, 1, 20) and rows["grouped"].activations == 40


def test_a_skeleton_takes_no_memory_for_its_weights():
    code = """
import keras, resource
from cifar_zoo.evaluation.costs import abstract_model
keras.ops.zeros(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(abstract_model("senet154").count_params(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parameters, kilobytes = map(int, done.stdout.split())
    assert parameters == 567_950_186  # 2.3 GB in float32
    assert kilobytes < 200_000


def test_unknown_sizes_are_refused():
    with pytest.raises(cifar_zoo.CifarZooError, match=r"resnet20 takes \(None, None, 3\)"):
        layer_table(cifar_zoo.models.resnet20(input_shape=(None, None, 3)))


def test_info_prints_the_table(zoo):
    text = zoo("info", "tuto").stdout
    for part in ("c5_1", "LocalResponseNormalization", "37,745,098", "1,068,298", "Tuto, 87.2 %", "multiply-adds"):
        assert part in text
    facts = json.loads(zoo("info", "tuto", "--json").stdout)
    assert facts["tensorsandbox_flops"] == 37_745_098
    assert sum(layer["params"] for layer in facts["layers"]) == facts["params"] == 1_068_298
    assert facts["multiply_adds"] == sum(layer["multiply_adds"] for layer in facts["layers"])
    assert facts["activation_bytes"] == 4 * sum(layer["activations"] for layer in facts["layers"])
