"""A network in a user's own package has all that the networks of the zoo have."""

import re

import pytest

PACKAGE = '''
"""Networks of somebody else, from public names only."""

import keras

import cifar_zoo


def trunk(x):
    stages = {}
    for number, filters in enumerate((8, 16), start=1):
        x = keras.layers.Conv2D(filters, 3, 2, activation="relu", name=f"conv{number}")(x)
        x = cifar_zoo.layers.SqueezeExcite(4, name=f"se{number}")(x)
        stages[f"stage{number}"] = x
    return stages


def head(x, classes):
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.layers.Dense(classes, name="classifier")(x)


@cifar_zoo.register_model()
def plain_net():
    """Two convolutions.

    They are small.
    """
    return cifar_zoo.Architecture(trunk)


@cifar_zoo.register_model("max_net", paper="arXiv:0000.00000", input_shape=(24, 24, 3))
def network_with_max():
    return cifar_zoo.Architecture(trunk, head, keras.layers.Rescaling(1 / 255, name="preprocessing"))
'''

USE = """
import inspect, pickle, sys

import keras
import numpy as np

import cifar_zoo
from their_package.their_nets import network_with_max, plain_net

npz, image = sys.argv[1:]
assert {"plain_net", "max_net"} < set(cifar_zoo.list_models()) and "plain_net" in cifar_zoo.list_models("plain*")
assert "plain_net" not in cifar_zoo.list_models(pretrained=True)
info = cifar_zoo.model_info("plain_net")
assert (info.family, info.summary, info.params, info.trainable) == ("their_nets", "Two convolutions.", None, None)
assert inspect.getdoc(plain_net).startswith("Two convolutions.\\n\\nThey are small.\\n\\nArgs:\\n")
assert "Reference" not in inspect.getdoc(plain_net)
assert cifar_zoo.model_info("max_net").build is network_with_max
assert pickle.loads(pickle.dumps(network_with_max)) is network_with_max
defaults = inspect.signature(network_with_max).parameters
assert (defaults["input_shape"].default, defaults["name"].default) == ((24, 24, 3), "max_net")

run = cifar_zoo.fit_cifar10("plain_net", epochs=1, data=npz, run_dir="run", verbose=0)
weights = str(run.directory / "model.weights.h5")
network = cifar_zoo.create_model("plain_net", weights=weights)
assert cifar_zoo.evaluate(network, npz)["accuracy"] == run.metrics["test_accuracy"]
assert len(cifar_zoo.predict("plain_net", [image], weights=weights)[0]["classes"]) == 3
same = network.get_layer("conv1").kernel
for options, shape in (
    ({"classes": 3}, (None, 3)),
    ({"include_top": False}, (None, 7, 7, 16)),
    ({"include_top": False, "pooling": "max"}, (None, 16)),
    ({"features": True}, {"stage1": (None, 15, 15, 8), "stage2": (None, 7, 7, 16)}),
    ({"input_shape": (48, 48, 3)}, (None, 10)),
):
    model = plain_net(weights=weights, **options)
    ends = model.output
    found = {stage: end.shape for stage, end in ends.items()} if isinstance(ends, dict) else ends.shape
    assert found == shape, found
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, same)

network.save("whole.keras")
x = np.zeros((2, 32, 32, 3), "uint8")
loaded = keras.saving.load_model("whole.keras")
np.testing.assert_array_equal(loaded.predict(x, verbose=0), network.predict(x, verbose=0))
assert network_with_max(classes=4, name="mine").output_shape == (None, 4)
for wrong, error in (({"weights": "cifar10"}, "plain_net has no published weights"), ({"classes": 0}, "classes")):
    try:
        plain_net(**wrong)
    except cifar_zoo.CifarZooError as found:
        assert error in str(found), found
    else:
        raise AssertionError(wrong)
print("done")
"""


@pytest.fixture
def run_outside(python, tmp_path):
    """Run code in a fresh process, in a folder with a package of networks."""
    (tmp_path / "their_package").mkdir()
    (tmp_path / "their_package" / "__init__.py").write_text("")
    (tmp_path / "their_package" / "their_nets.py").write_text(PACKAGE)
    return lambda code, *arguments: python("-c", code, *arguments, cwd=tmp_path)


def test_a_network_of_another_package_has_every_feature(run_outside, small_npz, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "image.png")
    done = run_outside(USE, small_npz, tmp_path / "image.png")
    assert done.stdout.endswith("done\n"), done.stderr[-3000:]


@pytest.mark.parametrize(
    "lines, error",
    [
        ("@cifar_zoo.register_model('resnet20')", "ValueError: two networks are called 'resnet20': the first is in "),
        ("@cifar_zoo.register_model", "TypeError: name must be a string, .* use the decorator with parentheses"),
    ],
)
def test_wrong_registrations_are_refused(run_outside, lines, error):
    done = run_outside(f"import cifar_zoo\n{lines}\ndef net():\n    return None")
    assert done.returncode == 1
    assert re.search(error, done.stderr), done.stderr
