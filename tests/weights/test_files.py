"""Writing and reading weights files."""

import h5py
import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, load_weights, save_weights


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return cifar_zoo.create_model("nin0")


@pytest.fixture
def path(model, tmp_path):
    path = tmp_path / "nin0.weights.h5"
    save_weights(model, path)
    return path


def test_the_file_is_float16_and_plain_keras_reads_it(model, path):
    kinds = set()
    with h5py.File(path) as file:
        file.visititems(lambda name, item: kinds.add(item.dtype) if isinstance(item, h5py.Dataset) else None)
    assert kinds == {np.dtype("float16")}
    for load in (load_weights, lambda network, file: network.load_weights(file)):
        again = cifar_zoo.create_model("nin0")
        load(again, path)
        for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs.astype("float16").astype("float32"))


def change(path, edit):
    with h5py.File(path, "a") as file:
        edit(file)


def group_of(file, layer):
    return next(group["vars"] for group in file["layers"].values() if group["vars"].attrs["name"] == layer)


def remove(file):
    del group_of(file, "classifier")["1"]


def add(file):
    file["layers/conv2d/vars/2"] = np.zeros(3, "float16")


def reshape(file):
    group = group_of(file, "classifier")
    del group["0"]
    group["0"] = np.zeros((1, 1, 64, 11), "float16")


def rename(file):
    group_of(file, "c1_2").attrs["name"] = "other"


@pytest.mark.parametrize(
    "edit, message",
    [
        (remove, "has no classifier/1, which nin0 needs"),
        (add, "has c5_1/2, which nin0 has not"),
        (reshape, r"classifier/0 is \(1, 1, 64, 11\), and nin0 needs \(1, 1, 64, 10\)"),
        (rename, "has no c1_2/0, which nin0 needs"),
    ],
)
def test_a_file_of_other_layers_is_refused_and_changes_nothing(path, edit, message):
    change(path, edit)
    other = cifar_zoo.create_model("nin0")
    before = other.get_weights()
    with pytest.raises(CifarZooError, match=message) as error:
        load_weights(other, path)
    assert str(path) in str(error.value)
    for ours, theirs in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_no_file_is_refused(model, path, tmp_path):
    with pytest.raises(CifarZooError, match="there is no weights file"):
        load_weights(model, tmp_path / "nothing.weights.h5")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CifarZooError, match="not a whole HDF5 file"):
        load_weights(model, path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_and_leave_no_file(model, tmp_path, value):
    model.get_layer("classifier").bias.assign(np.full(10, value))
    with pytest.raises(CifarZooError, match="holds values that are not finite"):
        save_weights(model, tmp_path / "bad.weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_values_too_large_for_float16_stay_float32(model, tmp_path):
    model.get_layer("classifier").bias.assign(np.full(10, 1e6))
    save_weights(model, tmp_path / "large.weights.h5")
    again = cifar_zoo.create_model("nin0", weights=str(tmp_path / "large.weights.h5"))
    np.testing.assert_array_equal(again.get_layer("classifier").get_weights()[1], np.full(10, 1e6, "float32"))


def test_other_names_are_refused(model, path):
    renamed = path.rename(path.with_name("nin0.h5"))
    for use in (save_weights, load_weights):
        with pytest.raises(CifarZooError, match="must end in .weights.h5; '.*nin0.h5' does not"):
            use(model, renamed)
