"""People's own weights by `weights=PATH`: of other images, of other classes, and such as cannot be used."""

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError

OPTIONS = {"input_shape": (40, 40, 1), "classes": 4}


@pytest.fixture(scope="module", params=["tuto", "nin0"])
def own(request, tmp_path_factory):
    """A network for small gray images of four classes, and its file; tuto has dense layers of the images' size."""
    model = cifar_zoo.create_model(request.param, **OPTIONS)
    path = tmp_path_factory.mktemp("own") / "own.weights.h5"
    cifar_zoo.save_weights(model, path)
    cifar_zoo.load_weights(model, path)  # rounded to float16
    return request.param, model, path


@pytest.mark.parametrize("change", [{}, {"classes": 7}, {"include_top": False}, {"features": True}], ids=str)
def test_own_images_and_classes(own, change):
    name, model, path = own
    loaded = cifar_zoo.create_model(name, weights=path, **{**OPTIONS, **change})
    assert len([layer for layer in loaded.layers if layer.weights]) >= 2
    for one, other in zip(loaded.layers, model.layers, strict=False):
        if not one.name.startswith("classifier"):
            for found, expected in zip(one.weights, other.weights, strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(24, 24, 1), (40, 40, 3)])
def test_weights_for_other_images_are_refused_in_one_line(own, shape):
    name, _, path = own
    if name == "nin0" and shape[2] == 1:
        return  # takes images of any size
    with pytest.raises(CifarZooError, match=rf"own\.weights\.h5: .* and {name} needs"):
        cifar_zoo.create_model(name, weights=path, input_shape=shape)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, wrong):
    model = cifar_zoo.create_model("nin0")
    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.where(np.arange(kernel.shape[-1]) == 3, wrong, kernel))
    model.save_weights(tmp_path / "own.weights.h5")
    before = cifar_zoo.create_model("nin0")
    values = before.get_weights()
    with pytest.raises(CifarZooError, match=r"own\.weights\.h5: .* holds values that are not finite"):
        cifar_zoo.load_weights(before, tmp_path / "own.weights.h5")
    for found, expected in zip(before.get_weights(), values, strict=True):
        np.testing.assert_array_equal(found, expected)
    for refused in (
        lambda: cifar_zoo.create_model("nin0", weights=tmp_path / "own.weights.h5"),
        lambda: cifar_zoo.save_weights(model, tmp_path / "again.weights.h5"),
        lambda: cifar_zoo.fit_cifar10(model, data=two_images(), run_dir=tmp_path / "run"),
    ):
        with pytest.raises(CifarZooError, match="holds values that are not finite"):
            refused()
    assert [path.name for path in tmp_path.iterdir()] == ["own.weights.h5"]


def two_images():
    split = np.zeros((2, 32, 32, 3), "uint8"), np.zeros(2, "int64")
    return split, split


def test_a_whole_model_with_weights_that_are_not_finite_is_refused(tmp_path):
    model = cifar_zoo.create_model("nin0")
    model.get_layer("classifier").bias.assign(np.full(10, np.inf))
    model.save(tmp_path / "own.keras")
    with pytest.raises(CifarZooError, match="holds values that are not finite"):
        cifar_zoo.fit_cifar10(
            keras.saving.load_model(tmp_path / "own.keras"), data=two_images(), run_dir=tmp_path / "run"
        )
