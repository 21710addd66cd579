""".keras files that promise more than they hold are refused before the memory is taken."""

import json
import threading
import zipfile

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError

X = np.zeros((1, 32, 32, 3), "uint8")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The members of a .keras file of nin0."""
    path = tmp_path_factory.mktemp("saved") / "net.keras"
    cifar_zoo.create_model("nin0").save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(folder, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / "net.keras", "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder / "net.keras"


def edited(members, layer, **values):
    """The members with other values in the configuration of a layer, which may be in an inner network."""
    config = json.loads(members["config.json"])

    def edit(network):
        for each in network["layers"]:
            if each["config"].get("name") == layer:
                each["config"].update(values)
            if "layers" in each["config"]:
                edit(each["config"])

    edit(config["config"])
    return {**members, "config.json": json.dumps(config).encode()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_whole_file_is_loaded_compressed_or_not(saved, tmp_path, compression):
    path = write(tmp_path, saved, compression)
    assert len(cifar_zoo.predict(path, X)[0]["classes"]) > 0


@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5", "assets/more.txt"])
def test_a_member_that_unpacks_to_far_more_than_it_has(saved, tmp_path, member):
    path = write(tmp_path, {**saved, member: saved.get(member, b"") + bytes(200_000_000)})
    assert path.stat().st_size < 1_000_000
    with pytest.raises(CifarZooError, match=rf"net.keras' cannot be loaded by Keras: {member} in it unpacks to 20"):
        cifar_zoo.predict(path, X)


@pytest.mark.parametrize("units", [10**7, 10**12])
def test_a_network_with_more_weights_than_the_file_has_bytes(saved, tmp_path, units):
    path = write(tmp_path, edited(saved, "classifier", filters=units))
    with pytest.raises(CifarZooError, match=r"its network has [\d,]+ weights, and model.weights.h5 in it has only"):
        cifar_zoo.evaluate(path, (X, [0]))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "layer, values", [("pixels", {"batch_shape": [None, 10**5, 10**5, 3]}), ("larger", {"size": [10**4, 10**4]})]
)
def test_layers_that_no_memory_holds(tmp_path, nested, layer, values):
    network = keras.Sequential(
        [
            keras.Input((32, 32, 3), name="pixels"),
            keras.layers.UpSampling2D(2, name="larger"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    model = keras.Model(network.inputs, network(network.inputs) if nested else network.outputs)
    model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = write(tmp_path, edited(members, layer, **values))
    with pytest.raises(CifarZooError, match=r"its layer \w+ has [\d,]+ values for one image, and 268,435,456 are"):
        cifar_zoo.predict(path, X)


def test_a_layer_that_cannot_be_built_without_memory_is_left_to_keras(tmp_path):
    @keras.saving.register_keras_serializable("test_keras_file")
    class Scaled(keras.layers.Layer):
        def build(self, input_shape):
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("only in the main thread")

        def call(self, x):
            return 2 * x

    nin = cifar_zoo.create_model("nin0", include_top=False, pooling="avg")
    model = keras.Sequential([nin, Scaled(), keras.layers.Dense(10)])
    model.save(tmp_path / "net.keras")
    found = cifar_zoo.evaluate(tmp_path / "net.keras", (X, [3]))
    assert found["loss"] == pytest.approx(cifar_zoo.evaluate(model, (X, [3]))["loss"], rel=1e-5)
