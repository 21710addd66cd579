"""Export to other runtimes: the written files are opened there, by programs that know nothing of this project."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.cli.export import export as command
from cifar_zoo.exporting.export import FORMATS, TOLERANCE
from cifar_zoo.weights.manifest import read_manifest

pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("openvino")

NAMES = {"onnx": "net.onnx", "saved_model": "net", "litert": "net.tflite", "openvino": "net.xml"}
IMAGES = np.random.default_rng(5).integers(0, 256, (7, 32, 32, 3), dtype="uint8")

# The name, dtype and shape of the input as each runtime tells them.
INPUTS = {
    "onnx": ["pixels", "tensor(uint8)", ["batch", 32, 32, 3]],
    "saved_model": ["pixels", "uint8", [None, 32, 32, 3]],
    "litert": ["pixels", "uint8", [-1, 32, 32, 3]],
    "openvino": ["pixels", "u8", "[?,32,32,3]"],
}

# Each opens a file, prints the names and shapes of its ends and its metadata, and saves its outputs for some images.
READERS = {
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
(taken,), given = session.get_inputs(), session.get_outputs()
report["input"] = [taken.name, taken.type, taken.shape]
report["metadata"] = session.get_modelmeta().custom_metadata_map
run = lambda x: dict(zip([end.name for end in given], session.run(None, {"pixels": x})))
""",
    "saved_model": """
import pathlib, tensorflow
loaded = tensorflow.saved_model.load(path)
function = loaded.signatures["serving_default"]
spec = function.structured_input_signature[1]["pixels"]
report["input"] = [spec.name, spec.dtype.name, list(spec.shape)]
report["metadata"] = json.loads((pathlib.Path(path) / "assets.extra/cifar_zoo.json").read_text())
run = lambda x: {name: value.numpy() for name, value in function(pixels=tensorflow.constant(x)).items()}
""",
    "litert": """
from ai_edge_litert import interpreter, schema_py_generated
signature = interpreter.Interpreter(path).get_signature_runner()
details = signature.get_input_details()["pixels"]
report["input"] = ["pixels", details["dtype"].__name__, details["shape_signature"].tolist()]
model = schema_py_generated.ModelT.InitFromPackedBuf(open(path, "rb").read(), 0)
(entry,) = [entry for entry in model.metadata if entry.name == b"cifar_zoo"]
report["metadata"] = json.loads(bytes(model.buffers[entry.buffer].data))
run = lambda x: signature(pixels=x)
""",
    "openvino": """
import openvino
compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
taken = compiled.input()
report["input"] = [taken.any_name, taken.element_type.get_type_name(), str(taken.partial_shape)]
report["metadata"] = openvino.Core().read_model(path).get_rt_info(["cifar_zoo"]).value
run = lambda x: {end.any_name: compiled({"pixels": x})[end] for end in compiled.outputs}
""",
}
RUN = """
report["shapes"] = {}
outputs = {}
for n in (1, 7, 2):
    for name, values in run(images[:n]).items():
        outputs[f"{name}.{n}"] = values
numpy.savez("outputs.npz", **outputs)
assert "cifar_zoo" not in sys.modules
print(json.dumps(report))
"""


def read(format, path, images=IMAGES):
    """Run a file in its runtime in another process and return the outputs for 1, 7 and 2 images, and a report."""
    folder = Path(path).parent
    np.save(folder / "images.npy", images)
    start = "import json, numpy, sys\npath = sys.argv[1]\nimages = numpy.load('images.npy')\nreport = {}\n"
    code = start + READERS[format] + RUN
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs), json.loads(done.stdout.splitlines()[-1])


def keras_outputs(model, images):
    outputs = model(images, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_gives_the_same_probabilities_in_its_runtime(format, tmp_path):
    path = tmp_path / NAMES[format]
    figures = cifar_zoo.export("resnet20", path, format)
    outputs, report = read(format, path)
    model = cifar_zoo.models.resnet20(weights="cifar10")
    for n in (1, 7, 2):
        expected = keras.ops.convert_to_numpy(model(IMAGES[:n], training=False))
        np.testing.assert_allclose(outputs[f"probabilities.{n}"], expected, atol=1e-5)
    assert outputs.keys() == {"probabilities.1", "probabilities.7", "probabilities.2"}
    assert report["input"] == INPUTS[format]
    entry = read_manifest()["resnet20"]["zoo"]
    metadata = report["metadata"]
    assert json.loads(metadata["class_names"])[3] == "cat"
    assert metadata["network"] == "resnet20" and metadata["license"] == "MIT" and metadata["sha256"] == entry.sha256
    assert float(metadata["test_accuracy"]) == entry.test_accuracy
    assert figures["path"] == str(path) and figures["largest_difference"] < TOLERANCE
    files = [path] if path.is_file() else list(path.rglob("*.*"))
    if format == "openvino":
        files.append(path.with_suffix(".bin"))
    assert figures["bytes"] == sum(file.stat().st_size for file in files if file.is_file())
    assert figures["bytes"] > 4 * 272_000


def test_what_was_there_is_replaced_and_nothing_else_is_left(tmp_path):
    images = IMAGES[:, :20, :24, :1]
    for model in (own_network(), own_network()):
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(images.astype("float32"))))
        for format, name in NAMES.items():
            cifar_zoo.export(model, tmp_path / name, format)
            found = FORMATS[format].load(tmp_path / name)(images)
            np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES.values(), "net.bin"}


def test_features_have_the_names_of_the_stages(tmp_path):
    cifar_zoo.export("resnet20", tmp_path / "net.onnx", features=True)
    outputs, report = read("onnx", tmp_path / "net.onnx")
    model = cifar_zoo.models.resnet20(weights="cifar10", features=True)
    for name, values in keras_outputs(model, IMAGES).items():
        np.testing.assert_allclose(outputs[f"{name}.7"], values, atol=1e-5 * values.max())
    assert json.loads(report["metadata"]["outputs"]) == sorted(model.output) and len(model.output) > 1
    assert "class_names" not in report["metadata"]


def test_logits_and_float_pixels(tmp_path):
    cifar_zoo.export("resnet20", tmp_path / "net.onnx", logits=True, input_dtype="float32")
    images = IMAGES.astype("float32") - 0.25  # no whole numbers
    outputs, _ = read("onnx", tmp_path / "net.onnx", images)
    model = cifar_zoo.models.resnet20(weights="cifar10", classifier_activation=None)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(outputs["logits.7"], expected, atol=1e-5 * np.abs(expected).max())


def own_network(activation=None):
    """A network of somebody else, with GELU and with the constants of Normalization."""
    return keras.Sequential(
        [
            keras.Input((20, 24, 1)),
            keras.layers.Normalization(mean=120.0, variance=4000.0),
            keras.layers.Conv2D(8, 3, activation="gelu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation=activation),
        ],
        name="mine",
    )


@pytest.mark.parametrize("format", FORMATS)
def test_your_own_network_of_other_images_and_classes(format, tmp_path):
    model = own_network()
    path = tmp_path / NAMES[format]
    cifar_zoo.export(model, path, format, class_names=["a", "b", "c"])
    images = IMAGES[:, :20, :24, :1]
    outputs, report = read(format, path, images)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(images.astype("float32"))))
    np.testing.assert_allclose(outputs["probabilities.7"], expected, atol=1e-6)
    assert json.loads(report["metadata"]["class_names"]) == ["a", "b", "c"]
    assert report["metadata"]["network"] == "mine" and "sha256" not in report["metadata"]


def test_the_names_that_a_network_keeps(tmp_path):
    """Those of its own ten classes, not of CIFAR-10."""
    names = [f"class {number}" for number in range(10)]
    pixels = keras.Input((32, 32, 3))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels)))
    cifar_zoo.export(keras.Model(pixels, cifar_zoo.layers.ClassScores(names)(logits)), tmp_path / "net.onnx")
    (answer,) = cifar_zoo.predict(tmp_path / "net.onnx", IMAGES[:1], top=10)
    assert {guess["class"] for guess in answer["classes"]} == set(names)


@pytest.mark.parametrize("backend, format", [pytest.param("jax", "litert", marks=pytest.mark.full), ("torch", "onnx")])
def test_another_backend_writes_the_same(backend, format, zoo, tmp_path):
    pytest.importorskip(backend)
    path = tmp_path / NAMES[format]
    done = zoo("export", "squeeze1", "--format", format, "-o", path, "--json", env={"KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["largest_difference"] < TOLERANCE
    images = IMAGES[:, :24, :24]
    expected = keras.ops.convert_to_numpy(cifar_zoo.models.squeeze1(weights="cifar10")(images, training=False))
    np.testing.assert_allclose(FORMATS[format].load(path)(images)["probabilities"], expected, atol=1e-5)


class Counter(keras.layers.Layer):
    """A layer that is another one each time that it is called, so that no export can be right."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs * self.calls


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a child process does not know the layer")
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_gives_other_outputs_is_not_handed_over(format, tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = Counter()(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x / 1e4))
    path = tmp_path / NAMES[format]
    with pytest.raises(CifarZooError, match="does not do what the network does: its outputs differ by"):
        cifar_zoo.export(model, path, format)
    assert list(tmp_path.iterdir()) == []


def test_bad_requests_are_refused_and_leave_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine.txt").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for options, message in [
        ({"format": "tensorrt"}, "format must be 'onnx', 'saved_model', 'litert', 'openvino', not 'tensorrt'"),
        ({"format": "litert"}, "must end in .tflite"),
        ({"path": "net.pb"}, "the name of a file for ONNX must end in .onnx"),
        ({"path": "folder.onnx"}, "is not a regular file and is not replaced"),
        ({"path": "folder", "format": "saved_model"}, "is not a SavedModel and is not replaced"),
        ({"path": "file", "format": "saved_model"}, "is not a SavedModel and is not replaced"),
        ({"input_dtype": "int8"}, "input_dtype must be 'uint8' or 'float32', not 'int8'"),
        ({"features": True, "logits": True}, "features and logits exclude each other"),
        ({"features": True, "int8": True}, "int8 is for class scores in ONNX, not for features"),
        (
            {"path": "net.tflite", "format": "litert", "int8": True},
            "int8 is for class scores in ONNX, not for 'litert'",
        ),
        ({"model": "resnet21"}, "no network 'resnet21'"),
        ({"model": "nin0"}, "nin0 has no published weights"),
        ({"weights": "imagenet"}, "resnet20 has no weights 'imagenet'"),
        ({"class_names": ["cat", "dog"]}, "class_names must name the 10 classes of resnet20, not 2"),
        ({"model": own_network(), "features": True}, "features=True needs the name of a network"),
        ({"model": own_network("sigmoid"), "logits": True}, "mine gives probabilities without a softmax layer"),
    ]:
        options = {"model": "resnet20", "path": "net.onnx"} | options
        options["path"] = tmp_path / options["path"]
        with pytest.raises(CifarZooError, match=message):
            cifar_zoo.export(**options)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_offers_every_format():
    (option,) = (option for option in command.params if option.name == "format_")
    assert list(option.type.choices) == list(FORMATS)


def test_reduced_precision_is_refused(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cifar_zoo.models.nin0()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(CifarZooError, match="nin0 computes in bfloat16; build it with the dtype policy float32"):
        cifar_zoo.export(model, tmp_path / "net.onnx")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    with pytest.raises(CifarZooError, match="OpenVINO needs the package openvino: pip install 'cifar-zoo.openvino.'"):
        cifar_zoo.export("resnet20", tmp_path / "net.xml", "openvino")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is written in another process")
def test_a_network_that_no_file_can_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cifar_zoo.exporting.onnx.MOST_WEIGHTS", 1_000_000)
    message = "resnet20 cannot be written as ONNX: its weights have 0.0 GB, and an ONNX file has at most 2 GB"
    with pytest.raises(CifarZooError, match=message):
        cifar_zoo.export("resnet20", tmp_path / "net.onnx")


# More than 2 GB, the most that an ONNX file can have.
TOO_LARGE = {"senet154"}


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(set(cifar_zoo.list_models()) - TOO_LARGE))
def test_every_network_runs_in_onnx_runtime(name, tmp_path):
    keras.utils.set_random_seed(0)
    figures = cifar_zoo.export(name, tmp_path / "net.onnx", weights=None, logits=True)
    # In sknet50 a change of the pixels by one part in ten million changes the logits by 2e-5 of the largest.
    assert figures["largest_difference"] < (2e-4 if name == "sknet50" else 2e-5)
    keras.utils.clear_session()


@pytest.mark.full
@pytest.mark.parametrize("name", cifar_zoo.list_models(pretrained=True))
def test_trained_networks_name_the_same_classes_in_every_runtime(name, cifar10, tmp_path):
    _, (images, _) = cifar10
    images = images[:1000]
    expected = cifar_zoo.create_model(name, weights="cifar10").predict(images, batch_size=100, verbose=0)
    for format in FORMATS:
        path = tmp_path / NAMES[format]
        cifar_zoo.export(name, path, format)
        run = FORMATS[format].load(path)
        found = np.concatenate([run(images[i : i + 100])["probabilities"] for i in range(0, 1000, 100)])
        np.testing.assert_allclose(found, expected, atol=1e-4)
        sure = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 1e-4
        np.testing.assert_array_equal(found.argmax(axis=1)[sure], expected.argmax(axis=1)[sure])
    keras.utils.clear_session()
