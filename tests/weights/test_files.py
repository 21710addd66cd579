"""Writing and reading weights files."""

import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, load_weights, save_weights
from cifar_zoo.weights.files import layout, stored_layout
from cifar_zoo.weights.store import load_pretrained


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


def contents(path):
    """Every group and array of a file, with its attributes and its shape."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: (dict(item.attrs), getattr(item, "shape", None))}))
    return found


class Block(keras.layers.Layer):
    """A layer of layers: in an attribute, in a list, in a dict, private, and one of them twice."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(3)
        self.more = [keras.layers.Dense(3), keras.layers.BatchNormalization(), [keras.layers.Dense(3)]]
        self.named = {"b": keras.layers.Dense(3), "a": self.dense}
        self._last = keras.layers.Dense(3, name="last")

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), name="scale")
        for layer in (self.dense, self.more[0], self.more[1], self.more[2][0], self.named["b"], self._last):
            layer.build((None, 3))

    def call(self, x):
        for layer in (self.dense, *self.more[:2], self.more[2][0], *self.named.values(), self._last):
            x = layer(x)
        return x * self.scale


def nested():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), Block()], name="inner")
    inputs = keras.Input((3,))
    x = keras.layers.Dropout(0.5, seed=1)(inner(inputs))
    return keras.Model(inputs, Block(name="outer")(keras.layers.Dense(3)(x)))


@pytest.mark.parametrize("name", [*cifar_zoo.list_models(), None], ids=str)
def test_the_names_in_a_file_are_those_of_keras(tmp_path, name, request):
    """For all networks, and one of layers in layers; without a file being written, `layout` knows them."""
    if name and cifar_zoo.model_info(name).params > 4e5 and not request.config.option.full:
        pytest.skip("takes long; runs with --full")
    network = cifar_zoo.create_model(name) if name else nested()
    network.save_weights(tmp_path / "keras.weights.h5")
    save_weights(network, tmp_path / "ours.weights.h5")
    assert contents(tmp_path / "ours.weights.h5") == contents(tmp_path / "keras.weights.h5")
    assert layout(network) == stored_layout(tmp_path / "keras.weights.h5")
    again = cifar_zoo.create_model(name) if name else nested()
    load_weights(again, tmp_path / "keras.weights.h5")
    for ours, theirs in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_state_of_an_optimizer_is_not_written(model, tmp_path):
    """It would make the file one that no fresh network fits."""
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, 24, 24, 3)), np.zeros(2), verbose=0)
    save_weights(model, tmp_path / "fitted.weights.h5")
    again = cifar_zoo.create_model("nin0", weights=tmp_path / "fitted.weights.h5")
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype("float16").astype("float32"))
    load_weights(model, tmp_path / "fitted.weights.h5")


def test_a_network_that_is_not_built_has_no_weights(tmp_path):
    with pytest.raises(CifarZooError, match="unbuilt has no weights yet; build it"):
        save_weights(keras.Sequential([keras.layers.Dense(3)], name="unbuilt"), tmp_path / "a.weights.h5")
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
import cifar_zoo
model = cifar_zoo.create_model("nin0")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    cifar_zoo.save_weights(model, sys.argv[1])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 3000, 20_000])
def test_a_file_that_finds_no_room_is_an_error_and_the_old_one_stays(path, room):
    pytest.importorskip("resource")
    before = path.read_bytes()
    run = subprocess.run([sys.executable, "-c", FULL, str(path), str(room)], capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout == f"[Errno 27] File too large: '{path}'\n"
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_of_ones_own_for_other_channels_load(channels, tmp_path):
    """Into the same network, and their trunk into one for other classes, as features or without the top."""
    own = cifar_zoo.models.squeeze1(input_shape=(24, 24, channels), classes=4)
    path = tmp_path / "own.weights.h5"
    save_weights(own, path)
    spec = cifar_zoo.model_info("squeeze1")
    for options in ({"classes": 4}, {"classes": 7}, {"include_top": False}, {"features": True}):
        network = spec.build(input_shape=(24, 24, channels), **options)
        load_pretrained(network, spec, str(path))
        stem = network.layers[2]
        assert stem.name == own.layers[2].name
        np.testing.assert_array_equal(stem.get_weights()[0], own.layers[2].get_weights()[0].astype("float16"))
    with pytest.raises(CifarZooError, match=f"published weights are for 3 channels; use weights=None for {channels}"):
        load_pretrained(network, spec, "cifar10")


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
        (add, "has c5_1/2, which nin0 does not have"),
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
