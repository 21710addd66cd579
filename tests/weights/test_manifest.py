"""The manifest's schema, and the published files."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights import store
from cifar_zoo.weights.manifest import manifest_path, parse_manifest, read_manifest

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = [(name, tag) for name, tags in read_manifest().items() for tag in tags]
every_file = pytest.mark.parametrize("name, tag", PUBLISHED)


def test_there_are_weights():
    assert {"squeeze1", "resnet20"} <= read_manifest().keys() <= set(cifar_zoo.list_models())


@every_file
def test_the_entry_tells_the_truth(name, tag):
    entry = read_manifest()[name][tag]
    file = ROOT / "weights" / entry.file
    assert entry.bytes == file.stat().st_size
    assert entry.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert entry.parameters == cifar_zoo.model_info(name).params
    metrics = json.loads((file.parent / "metrics.json").read_text())
    config = json.loads((file.parent / "config.json").read_text())
    assert entry.test_accuracy == metrics["test_accuracy"] == metrics["test_correct"] / 10_000
    assert Recipe(**entry.recipe) == Recipe(**config["recipe"])
    assert (entry.seed, entry.epochs, entry.commit) == (config["seed"], metrics["epochs"], metrics["commit"])
    assert config["model"] == name and config["holdout"] == 0 and config["examples"] == 50_000
    assert not entry.commit.endswith("-changed")
    rows = (file.parent / "history.csv").read_text().splitlines()
    assert len(rows) == entry.epochs + 1
    card = (file.parent / "README.md").read_text()
    assert f"{entry.test_accuracy:.2%}" in card and entry.command in card


@every_file
def test_golden_logits(name, tag):
    """From raw pixels to scores, as when the file was published; on whatever backend this runs."""
    from cifar_zoo.weights.publish import golden_pictures, logits

    entry = read_manifest()[name][tag]
    with np.load(ROOT / "weights" / entry.golden) as golden:
        np.testing.assert_array_equal(golden["pictures"], golden_pictures(*cifar_zoo.model_info(name).input_shape[:2]))
        np.testing.assert_allclose(logits(name, tag, golden["pictures"]), golden["logits"], rtol=1e-4, atol=1e-4)


@every_file
def test_the_accuracy_is_that_of_the_manifest(name, tag, cifar10):
    """To the picture on the backend that it was measured on, within 0.05 points on the others."""
    import keras

    entry = read_manifest()[name][tag]
    found = cifar_zoo.evaluate(cifar_zoo.create_model(name, weights=tag), cifar10[1])["correct"]
    same = keras.backend.backend() in entry.versions
    assert abs(found - round(entry.test_accuracy * 10_000)) <= (0 if same else 5)


@pytest.fixture
def raw(tmp_path):
    def write(edit):
        content = json.loads(manifest_path().read_text())
        edit(content)
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(content))
        return path

    return write


def first(content):
    return next(iter(content["squeeze1"].values()))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda content: first(content).pop("sha256"), "squeeze1.zoo: lacks sha256"),
        (lambda content: first(content).update(url="x"), "squeeze1.zoo: has unknown url"),
        (lambda content: first(content).update(bytes="1"), "bytes must be int, not '1'"),
        (lambda content: first(content).update(seed=True), "seed must be int, not True"),
        (lambda content: first(content).update(best=False), "squeeze1 must have exactly one tag that is best"),
        (lambda content: content["squeeze1"].update(two=first(content)), "exactly one tag that is best"),
    ],
)
def test_a_wrong_manifest_is_refused(raw, edit, message):
    with pytest.raises(CifarZooError, match=message):
        parse_manifest(raw(edit))


def test_a_damaged_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CifarZooError, match=r"manifest.json: cannot be read as JSON"):
        parse_manifest(tmp_path / "manifest.json")


def test_a_damaged_file_is_not_opened(tmp_path, monkeypatch):
    entry = store.find_entry("squeeze1", "cifar10")
    path = tmp_path / entry.file
    path.parent.mkdir(parents=True)
    content = bytearray((ROOT / "weights" / entry.file).read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(store, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(store, "load_weights", lambda *_: pytest.fail("the file was opened"))
    with pytest.raises(CifarZooError, match="is damaged: .* with SHA-256"):
        cifar_zoo.models.squeeze1(weights="cifar10")
    path.unlink()
    with pytest.raises(CifarZooError, match="is in none of"):
        cifar_zoo.models.squeeze1(weights="cifar10")


def test_weights_go_by_the_registered_name():
    by_other_name = cifar_zoo.models.squeeze1(weights="cifar10", name="resnet20")
    assert by_other_name.count_params() == 146_570


def test_what_there_is_not_is_said():
    with pytest.raises(CifarZooError, match="alex2 has no published weights; train some with `cifar-zoo fit alex2`"):
        cifar_zoo.models.alex2(weights="cifar10")
    with pytest.raises(CifarZooError, match="squeeze1 has no weights 'imagenet'; there are 'cifar10' and 'zoo'"):
        cifar_zoo.models.squeeze1(weights="imagenet")
