"""Exported ONNX files in `predict` and `evaluate`, run without Keras."""

import json
import random
import resource
import subprocess
import sys

import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.evaluation.onnx_model import OnnxModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
skimage_data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "resnet20.onnx"
    cifar_zoo.export("resnet20", path)
    return path


@pytest.fixture
def cat(tmp_path):
    from PIL import Image

    Image.fromarray(skimage_data.chelsea()).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def test_it_names_and_measures_as_the_network_does(file, small_npz, cat):
    with np.load(small_npz) as arrays:
        data = arrays["x_test"], arrays["y_test"]
    ours, theirs = cifar_zoo.evaluate(file, data, tta=True), cifar_zoo.evaluate("resnet20", data, tta=True)
    assert (ours["correct"], ours["tta_correct"]) == (theirs["correct"], theirs["tta_correct"])
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    images = [cat, data[0][0]]
    for one, other in zip(cifar_zoo.predict(str(file), images), cifar_zoo.predict("resnet20", images), strict=True):
        assert [guess["class"] for guess in one["classes"]] == [guess["class"] for guess in other["classes"]]
        for a, b in zip(one["classes"], other["classes"], strict=True):
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-5)


def test_no_backend_is_loaded_and_the_answer_is_quick(file, cat):
    code = (
        "import sys, cifar_zoo\n"
        f"print(cifar_zoo.predict({str(file)!r}, [{str(cat)!r}])[0]['classes'][0]['class'])\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "cat\n"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "cifar_zoo", "predict", file, cat, "--json"], capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert json.loads(done.stdout)[0]["classes"][0]["class"] == "cat"
    # Seconds of processor time, which other load on the machine does not change; 0.4 were measured.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_the_command_evaluates_a_file(file, small_npz, zoo):
    done = zoo("evaluate", file, "--data", small_npz, "--json")
    assert json.loads(done.stdout)["images"] == 200, done.stderr


def test_logits_are_known_from_the_name_of_the_output(tmp_path):
    model = cifar_zoo.models.nin0()
    images = np.random.default_rng(0).integers(0, 256, (3, *model.input_shape[1:]), dtype="uint8")
    for logits in (False, True):
        cifar_zoo.export(model, tmp_path / "net.onnx", logits=logits, class_names=list("abcdefghij"))
        exported = OnnxModel(tmp_path / "net.onnx")
        assert (exported.gives_logits, exported.class_names) == (logits, list("abcdefghij"))
        for one, other in zip(
            cifar_zoo.predict(exported, images), cifar_zoo.predict(model, images, class_names="abcdefghij"), strict=True
        ):
            assert [guess["class"] for guess in one["classes"]] == [guess["class"] for guess in other["classes"]]
            assert one["classes"][0]["probability"] == pytest.approx(other["classes"][0]["probability"], abs=1e-4)


def foreign(path, **changes):
    """An ONNX file of a network that is not from images to class scores, unless nothing is changed."""
    ends = {"inputs": [("x", 1, ["n", 4, 4, 3])], "outputs": [("y", 1, ["n", 2])]} | changes
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", [ends["inputs"][0][0]], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["flat"]),
        onnx.helper.make_node("Slice", ["flat", "from", "to", "axis"], ["y"]),
    ]
    constants = {"from": [0], "to": [2], "axis": [1]}
    graph = onnx.helper.make_graph(
        nodes,
        "foreign",
        [onnx.helper.make_tensor_value_info(*end) for end in ends["inputs"]],
        [onnx.helper.make_tensor_value_info(*end) for end in ends["outputs"]],
        [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def test_a_file_of_somebody_else(tmp_path):
    foreign(tmp_path / "mine.onnx")
    model = OnnxModel(tmp_path / "mine.onnx")
    assert (model.name, model.input_shape, model.output_shape) == ("mine", (None, 4, 4, 3), (None, 2))
    assert model.class_names is None and model.gives_logits
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype="uint8")
    np.testing.assert_allclose(model.predict(images, 2), images.mean(axis=(2, 3))[:, :2], rtol=1e-5)
    with pytest.raises(CifarZooError, match="mine gives .None, 2., not the scores of 10 classes"):
        cifar_zoo.predict(model, images)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"inputs": [("x", 1, ["n", 4, 4, 3]), ("z", 1, ["n"])]}, r"it takes x tensor\(float\) .*, z tensor"),
        ({"inputs": [("x", 11, ["n", 4, 4, 3])]}, r"x tensor\(double\)|cannot|ONNX"),
        ({"inputs": [("x", 1, ["n", 4, "c"])]}, "not a network from images to class scores"),
    ],
)
def test_a_foreign_network_is_refused_in_one_line(tmp_path, changes, message):
    foreign(tmp_path / "mine.onnx", **changes)
    with pytest.raises(CifarZooError, match=message) as caught:
        OnnxModel(tmp_path / "mine.onnx")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not ONNX", b"\x08\x08" + b"\xff" * 50])
def test_what_is_no_onnx_file_ends_in_one_line(tmp_path, cat, content, zoo):
    (tmp_path / "net.onnx").write_bytes(content)
    done = zoo("predict", tmp_path / "net.onnx", cat)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("cifar-zoo: '") and "net.onnx" in done.stderr


DAMAGED = """
import sys, numpy
from cifar_zoo import CifarZooError
from cifar_zoo.evaluation.onnx_model import OnnxModel
for path in sys.argv[1:]:
    try:
        assert OnnxModel(path).predict(numpy.zeros((2, 32, 32, 3), "uint8")).shape[0] == 2
    except CifarZooError as error:
        assert len(str(error)) < 700 and str(error).isprintable(), str(error)
print("done")
"""


def test_damaged_files_run_or_are_refused(file, tmp_path):
    draw, content = random.Random(0), file.read_bytes()
    for number in range(60):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 5, 50])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        del damaged[draw.choice([len(damaged), draw.randrange(len(damaged))]) :]
        (tmp_path / f"{number}.onnx").write_bytes(damaged)
    done = subprocess.run([sys.executable, "-c", DAMAGED, *tmp_path.glob("*.onnx")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]
