"""Explanations and latencies of predictions."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.data.images import from_pillow
from cifar_zoo.evaluation.inspection import grad_cam
from cifar_zoo.evaluation.onnx_model import OnnxModel
from cifar_zoo.evaluation.predict import latency

CAT = from_pillow(Image.fromarray(chelsea()))


def test_an_explanation_is_red_where_the_network_looked(tmp_path):
    model = cifar_zoo.models.resnet20(weights="cifar10")
    results = cifar_zoo.predict(model, [CAT, CAT[:, ::-1]], explain=tmp_path / "new" / "maps")
    assert [result["classes"][0]["class"] for result in results] == ["cat", "cat"]
    for result, image in zip(results, (CAT, CAT[:, ::-1]), strict=True):
        drawn = np.asarray(Image.open(result["explanation"])).astype(int)
        assert drawn.shape == (256, 256, 3)
        (heat,) = grad_cam(model, image[None], np.array([3]))
        redness = (drawn[..., 0] - drawn[..., 2]).reshape(32, 8, 32, 8).mean(axis=(1, 3))
        assert np.corrcoef(redness.ravel(), heat.ravel())[0, 1] > 0.8
    assert len(list((tmp_path / "new" / "maps").iterdir())) == 2


def test_many_images_have_explanations_of_their_own(tmp_path):
    images = [np.roll(CAT, shift, axis=1) for shift in range(5)] * 60  # more than are in memory together
    results = cifar_zoo.predict("squeeze1", images, explain=tmp_path)
    assert len({result["explanation"] for result in results}) == len(list(tmp_path.iterdir())) == 300


def test_names_of_classes_may_hold_anything(tmp_path):
    names = ["a/b", "../c", "d e", "\n", "f" * 300, *"ghijk"]
    results = cifar_zoo.predict("squeeze1", [CAT], explain=tmp_path / "maps", class_names=names, top=1)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["0000-image-_.png"]  # the cat is the fourth
    assert results[0]["classes"][0]["class"] == "\n"
    (same,) = cifar_zoo.predict("squeeze1", [CAT], explain=tmp_path / "same", class_names=["one"] * 10, top=1)
    (named,) = results
    pixels = [np.asarray(Image.open(result["explanation"])) for result in (same, named)]
    np.testing.assert_array_equal(*pixels)  # of the class that was predicted, not of the first one of this name


def test_what_cannot_be_explained_is_refused(tmp_path):
    cifar_zoo.export("squeeze1", tmp_path / "net.onnx")
    with pytest.raises(CifarZooError, match=r"is an .onnx file; explain needs the network in Keras"):
        cifar_zoo.predict(tmp_path / "net.onnx", [CAT], explain=tmp_path / "maps")
    measured = latency(OnnxModel(tmp_path / "net.onnx"), CAT, seconds=0.2)
    assert 0 < measured["median"] <= measured["p95"] and measured["calls"] >= 10


def test_the_command(zoo, tmp_path):
    Image.fromarray(chelsea()).save(tmp_path / "cat.png")
    done = zoo("predict", "squeeze1", tmp_path / "cat.png", "--explain", tmp_path / "maps", "--time")
    assert done.returncode == 0, done.stderr
    assert f"the explanations are in {tmp_path / 'maps'}" in done.stdout
    assert "one image takes" in done.stdout and (tmp_path / "maps" / "0000-cat-cat.png").exists()
    done = zoo("predict", "squeeze1", tmp_path / "cat.png", "--time", "--json")
    found = json.loads(done.stdout)
    assert found["results"][0]["classes"][0]["class"] == "cat"
    assert 0 < found["latency_ms"]["median"] <= found["latency_ms"]["p95"]
    (tmp_path / "file").write_text("")
    done = zoo("predict", "squeeze1", tmp_path / "cat.png", "--explain", tmp_path / "file")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
