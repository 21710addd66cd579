"""Parameter counts computed from the papers, independently of the code that builds the networks."""

import numpy as np
import pytest

import cifar_zoo


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_residual_networks_for_cifar(depth):
    units = (depth - 2) // 6
    kernels, channels = 3 * 9 * 16 + 64 * 10 + 10, 16
    for stage, width in enumerate((16, 32, 64)):
        before = (16, 16, 32)[stage]
        kernels += 9 * before * width + (2 * units - 1) * 9 * width * width
        channels += 2 * units * width
        if before != width:
            kernels += before * width  # 1x1 projection
            channels += width
    info = cifar_zoo.model_info(f"resnet{depth}")
    assert (info.trainable, info.params) == (kernels + 2 * channels, kernels + 4 * channels)


@pytest.mark.parametrize(
    "name, at_24, at_32",
    [
        ("tuto", 1_068_298, 1_756_426),
        ("alex0", 1_463_594, 2_495_786),
        ("alex1", 322_506, 408_522),
        ("alex2", 1_068_298, 1_756_426),
        ("alex3", 996_298, 1_684_426),
        ("alex4", 1_493_674, 2_525_866),
        ("nin2", 966_986, 966_986),
        ("squeeze1", 146_570, 146_570),
        ("nin0", 120_458, 120_458),
        ("nin1", 178_890, 178_890),
        ("squeeze0", 122_986, 122_986),
    ],
)
def test_small_networks_at_two_sizes(name, at_24, at_32):
    assert cifar_zoo.create_model(name).count_params() == at_24
    assert cifar_zoo.create_model(name, input_shape=(32, 32, 3)).count_params() == at_32


@pytest.mark.parametrize(
    "name, sides",
    [
        ("resnet20", {"stem_relu": 32, "stage1_unit3_relu": 32, "stage2_unit3_relu": 16, "stage3_unit3_relu": 8}),
        ("resnet18", {"stem_relu": 32, "stage2_unit2_add": 16, "stage3_unit2_add": 8, "stage4_unit2_add": 4}),
        ("squeezenet", {"stem": 32, "stage1_fire2_add": 16, "stage2_fire2_add": 8, "stage3_fire4_add": 4}),
        ("squeeze1", {"c3_1": 24, "fire_2_concat": 12, "fire_4_concat": 6}),
    ],
)
def test_spatial_sizes(name, sides):
    model = cifar_zoo.create_model(name)
    assert {layer: model.get_layer(layer).output.shape[1] for layer in sides} == sides


def test_the_shortcut_of_resnet18_projects_the_raw_input():
    """With the residual branch silenced, a projecting unit is the projection of what comes in before batch norm."""
    model = cifar_zoo.create_model("resnet18", classifier_activation=None)
    model.get_layer("stage2_unit1_2_conv").kernel.assign(np.zeros((3, 3, 128, 128)))
    import keras

    inner = keras.Model(model.input, [model.get_layer(n).output for n in ("stage1_unit2_add", "stage2_unit1_add")])
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype="uint8")
    raw, out = (keras.ops.convert_to_numpy(tensor) for tensor in inner(x))
    kernel, bias = model.get_layer("stage2_unit1_shortcut_conv").get_weights()
    np.testing.assert_allclose(out[0], raw[0, ::2, ::2] @ kernel[0, 0] + bias, rtol=1e-3, atol=1e-3)
