"""The manifest's schema, and the published files."""

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.publishing.card import benchmark_figures, card
from cifar_zoo.results import read_record
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights import store
from cifar_zoo.weights.files import stored_layout
from cifar_zoo.weights.manifest import Entry, manifest_path, parse_manifest, read_manifest, write_manifest

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = [(name, tag) for name, tags in read_manifest().items() for tag in tags]
IN_SDIST = (ROOT / "PKG-INFO").exists()  # which has the weights of the wheel only
LEFT_OUT = pytest.mark.skip(reason="the source distribution leaves these weights out for their size")
every_file = pytest.mark.parametrize(
    "name, tag",
    [
        pytest.param(name, tag, marks=LEFT_OUT if IN_SDIST and not (ROOT / "weights" / name).exists() else ())
        for name, tag in PUBLISHED
    ],
)


def test_there_are_weights():
    assert {"squeeze1", "resnet20"} <= read_manifest().keys() <= set(cifar_zoo.list_models())


@pytest.mark.skipif(IN_SDIST, reason="the source distribution leaves large weights out")
def test_the_wheel_has_the_small_ones():
    """All files up to 3 MB, those of resnet18, and then the rest from the smallest up, to at most 60 MB in all."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    sizes = {
        name: sum(file.stat().st_size for file in (ROOT / "weights" / name).rglob("*") if file.is_file())
        for name in read_manifest()
    }
    weights = {name: max(entry.bytes for entry in tags.values()) for name, tags in read_manifest().items()}
    chosen = {name for name, size in weights.items() if size <= 3e6} | {"resnet18"}
    for name in sorted(set(weights) - chosen, key=weights.get):
        if sum(sizes[other] for other in chosen) + sizes[name] > 60e6:
            break
        chosen.add(name)
    included = targets["wheel"]["force-include"]
    bundled = {source: name for source, name in included.items() if "/bundled/" in name}
    assert bundled == {f"weights/{name}": f"cifar_zoo/bundled/{name}" for name in chosen}
    assert sum(sizes[name] for name in chosen) < 60e6
    # A wheel can be built from the source distribution.
    assert {path for path in targets["sdist"]["include"] if "weights/" in path} == {f"/{source}" for source in bundled}


@every_file
def test_the_entry_tells_the_truth(name, tag):
    """Every field, from the files that it is about."""
    entry = read_manifest()[name][tag]
    file = ROOT / "weights" / entry.file
    folder = file.parent
    metrics, config = (json.loads((folder / f"{part}.json").read_text()) for part in ("metrics", "config"))
    shapes = stored_layout(file)
    result = read_record(ROOT / "results" / name / f"{tag}-{config['seed']}.json")
    assert entry == Entry(
        best=entry.best,  # of a network's tags one, which is the schema's affair
        file=f"{name}/{tag}/{name}.{tag}.weights.h5",
        repository=entry.repository,
        revision=entry.revision,
        bytes=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        golden=f"{name}/{tag}/golden.npz",
        files={
            part: hashlib.sha256((folder / part).read_bytes()).hexdigest()
            for part in ("config.json", "golden.npz", "history.csv", "metrics.json")
        },
        params=sum(map(math.prod, shapes.values())),
        classes=shapes["classifier/0"][-1],
        license=tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"],
        recipe=config["recipe"],
        seed=config["seed"],
        epochs=len((folder / "history.csv").read_text().splitlines()) - 1,
        precision=config["precision"],
        test_accuracy=metrics["test_correct"] / 10_000,
        command=metrics["command"],
        hardware=metrics["hardware"],
        versions=metrics["versions"],
        commit=metrics["commit"],
    )
    assert entry.params == cifar_zoo.model_info(name).params
    assert config["model"] == name and config["holdout"] == 0 and config["examples"] == 50_000
    assert all(getattr(entry, field) == getattr(result, field) for field in vars(entry).keys() & vars(result).keys())
    assert entry.params == result.params and (name, tag) == (result.model, result.tag)
    assert Recipe(**entry.recipe).epochs == entry.epochs == metrics["epochs"] == len(result.history)
    assert (ROOT / "weights" / entry.golden).is_file()
    measured = (benchmark_figures(ROOT / "results" / file, entry) for file in ("inference.json", "evaluation.json"))
    made = card(name, tag, entry, metrics.get("test_tta_accuracy"), *measured)
    # The front matter's layout is the hub's library's; its content is checked in test_publish_to_hub.
    assert (folder / "README.md").read_text().split("---\n", 2)[2] == made.split("---\n", 2)[2]


@every_file
def test_the_commit_is_one_of_ours(name, tag):
    commit = read_manifest()[name][tag].commit
    assert re.fullmatch("[0-9a-f]{40}", commit)
    git = ["git", "-C", str(ROOT)]
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("there is no history here")
    if subprocess.run([*git, "rev-parse", "--is-shallow-repository"], capture_output=True).stdout != b"false\n":
        pytest.skip("the history is not whole")
    assert subprocess.run([*git, "merge-base", "--is-ancestor", commit, "HEAD"]).returncode == 0


@every_file
def test_golden_logits(name, tag):
    """From raw pixels to scores, as when the file was published; on whatever backend this runs."""
    from cifar_zoo.data.images import golden_images
    from cifar_zoo.publishing.stage import logits

    entry = read_manifest()[name][tag]
    with np.load(ROOT / "weights" / entry.golden) as golden:
        np.testing.assert_array_equal(golden["images"], golden_images(*cifar_zoo.model_info(name).input_shape[:2]))
        np.testing.assert_allclose(logits(name, tag, golden["images"]), golden["logits"], rtol=1e-4, atol=1e-4)


@every_file
def test_the_accuracy_is_that_of_the_manifest(name, tag, cifar10, request):
    """To the image on the backend that it was measured on, within 0.05 points on the others."""
    import keras

    entry = read_manifest()[name][tag]
    if entry.params > 2e5 and not request.config.option.full:
        pytest.skip("takes long; runs with --full")
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


def twice(content):
    content["squeeze1"]["two"] = {**first(content), "file": "squeeze1/two/squeeze1.two.weights.h5"}


def put(**fields):
    return lambda content: first(content).update(fields)


def put_recipe(**fields):
    return lambda content: first(content)["recipe"].update(fields)


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda content: first(content).pop("sha256"), "squeeze1.zoo: lacks sha256"),
        (lambda content: first(content).pop("revision"), "squeeze1.zoo: lacks revision"),
        (put(url="x", a=1), "squeeze1.zoo: has unknown a, url"),
        (put(best=False), "squeeze1 must have exactly one tag that is best"),
        (put(best=1), "best must be bool, not 1"),
        (twice, "exactly one tag that is best"),
        (lambda content: content.update(squeeze1=[]), r"squeeze1 must be an object with entries by tag, not \[\]"),
        (lambda content: content["squeeze1"].update(zoo=None), "squeeze1.zoo: must be an object, not None"),
        (lambda content: content["squeeze1"].clear(), "squeeze1 must have exactly one tag that is best"),
        (lambda content: content["squeeze1"].update(other=content["squeeze1"].pop("zoo")), "be in squeeze1/other/"),
        *[
            (put(file=path), "file must be a relative path of a .weights.h5 file, not ")
            for path in ("/a.weights.h5", "../a.weights.h5", "a/../b.weights.h5", "C:/a.weights.h5", "a\\b.weights.h5",
                         "a//b.weights.h5", "a/.weights.h5", "", "squeeze1/zoo/squeeze1.h5", "a b.weights.h5")
        ],
        (put(file="resnet20/zoo/squeeze1.zoo.weights.h5"), "file must be in squeeze1/zoo/, not 'resnet20/zoo/"),
        (put(files={}), "files must be of golden.npz, config.json, history.csv, metrics.json, not none"),
        (put(files={"golden.npz": HEX, "../config.json": HEX}), "files must be of .*, not golden.npz, ../config.json"),
        (put(files={"golden.npz": HEX[:-1]}), "files must be hashes of 64 hex digits by file, not "),
        (put(files=[]), r"files must be dict, not \[\]"),
        (put(golden="../golden.npz"), "golden must be a relative path of an .npz file, not '../golden.npz'"),
        *[
            (put(repository=name, revision=HEX[:40]), "repository must be ORG/NAME or null, not ")
            for name in ("name", "a/b/c", "../b", "https://a/b", "a/", "")
        ],
        (put(repository=3, revision=HEX[:40]), "repository must be str or null, not 3"),
        (put(repository="org/zoo", revision="main"), "revision must be a commit of 40 hex digits or null, not 'main'"),
        (put(repository="org/zoo", revision=HEX[:39] + "G"), "revision must be a commit"),
        (put(repository="org/zoo"), "repository and revision must both be given, or both be null"),
        (put(revision=HEX[:40]), "repository and revision must both be given, or both be null"),
        (put(bytes="1"), "bytes must be int, not '1'"),
        (put(bytes=0), "bytes must be positive, not 0"),
        (put(bytes=True), "bytes must be int, not True"),
        (put(sha256=HEX[:-1]), "sha256 must be 64 hex digits"),
        (put(sha256=HEX.upper()), "sha256 must be 64 hex digits"),
        (put(params=-1), "params must be positive, not -1"),
        (put(classes=0), "classes must be positive"),
        (put(license=""), "license must be an SPDX identifier, not ''"),
        (put(seed=True), "seed must be int, not True"),
        (put(seed=-1), "seed must be 0 or more"),
        (put(epochs=0), "epochs must be positive"),
        (put(precision="float16"), "precision must be float32 or mixed_bfloat16, not 'float16'"),
        (put(test_accuracy=88.4), r"test_accuracy must be in \[0, 1\], not 88.4"),
        (put(test_accuracy=float("nan")), r"test_accuracy must be in \[0, 1\], not nan"),
        (put(test_accuracy="0.9"), "test_accuracy must be float, not '0.9'"),
        (put(versions=[]), r"versions must be dict, not \[\]"),
        (put(versions={"keras": 3}), "versions must be texts by package"),
        (put(recipe="zoo"), "recipe must be dict, not 'zoo'"),
        (put_recipe(momentum=float("nan")), "recipe must be numbers, texts, .* by field, not "),
        (put_recipe(decay_epochs=[1, float("inf")]), "recipe must be numbers, texts, .* by field, not "),
        (put_recipe(schedule={}), "recipe must be numbers, texts, .* by field, not "),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_refused(raw, edit, message):
    path = raw(edit)
    with pytest.raises(CifarZooError, match=message) as error:
        parse_manifest(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_the_schema_says_what_every_field_may_be():
    schema = Entry.model_json_schema()
    assert schema["required"] == list(Entry.model_fields) and schema["additionalProperties"] is False
    assert schema["properties"]["test_accuracy"] | {"title": ""} == {
        "type": "number", "minimum": 0, "maximum": 1, "description": "in [0, 1]", "title": "",
    }  # fmt: skip


def test_an_entry_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        store.find_entry("squeeze1", "zoo").best = False


def test_a_published_entry_is_right(raw):
    path = raw(put(repository="org/zoo", revision=HEX[:40]))
    assert parse_manifest(path)["squeeze1"]["zoo"].repository == "org/zoo"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, b"\xff\xfe", '{"a": 1e400}', '{"a": NaN}'])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    path = tmp_path / "manifest.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CifarZooError, match=r"manifest.json(: |' is empty)"):
        parse_manifest(path)
    with pytest.raises(CifarZooError, match=r"there is no file '.*absent.json'"):
        parse_manifest(tmp_path / "absent.json")


def test_what_is_wrong_is_not_written(tmp_path):
    path = tmp_path / "manifest.json"
    entry = store.find_entry("squeeze1", "zoo")
    write_manifest({"squeeze1": {"zoo": entry}}, path)
    before = path.read_text()
    with pytest.raises(CifarZooError, match="both be null"):
        write_manifest({"squeeze1": {"zoo": entry.model_copy(update=dict(repository="org/zoo", revision=None))}}, path)
    assert path.read_text() == before and parse_manifest(path) == {"squeeze1": {"zoo": entry}}


def test_reading_it_loads_no_backend():
    code = "import sys; from cifar_zoo.weights import store; store.read_manifest(); print({'keras'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "set()\n"


def test_a_damaged_file_is_not_opened(tmp_path, monkeypatch):
    entry = store.find_entry("squeeze1", "cifar10")
    path = tmp_path / entry.file
    path.parent.mkdir(parents=True)
    content = bytearray((ROOT / "weights" / entry.file).read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(store, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("the file was opened"))
    with pytest.raises(CifarZooError, match="is damaged: it has the SHA-256 .* instead of"):
        cifar_zoo.models.squeeze1(weights="cifar10")
    path.write_bytes(content[:-1])
    with pytest.raises(CifarZooError, match="is damaged: it has 358,463 bytes instead of 358,464; reinstall"):
        cifar_zoo.models.squeeze1(weights="cifar10")


@pytest.fixture
def published(monkeypatch, tmp_path):
    """The manifest as if squeeze1 were published, and resnet20 not yet; no file is at hand."""
    manifest = {
        "squeeze1": {
            "zoo": store.find_entry("squeeze1", "zoo").model_copy(update=dict(repository="org/zoo", revision=HEX[:40]))
        },
        "resnet20": {
            "zoo": store.find_entry("resnet20", "zoo").model_copy(update=dict(repository=None, revision=None))
        },
    }
    monkeypatch.setattr(store, "FOLDERS", ())
    monkeypatch.setenv("CIFAR_ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(store, "read_manifest", lambda: manifest)


def test_what_is_not_published_says_what_to_do(published):
    """The nearest that is published, not the nearest of all."""
    with pytest.raises(
        CifarZooError,
        match="resnet32 has no published weights yet; `cifar-zoo fit resnet32` trains some. The nearest network that "
        "has is squeeze1. Else pass weights=None, or a .weights.h5 file",
    ):
        cifar_zoo.models.resnet32(weights="cifar10")
    with pytest.raises(
        CifarZooError, match="`cifar-zoo fit resnet20 --recipe zoo` trains some. The nearest .* squeeze1"
    ):
        cifar_zoo.models.resnet20(weights="zoo")


def test_the_tags_that_can_be_loaded_here(published, tmp_path):
    """Published on the hub, or in the cache with the right hash."""
    assert store.loadable_tags("squeeze1") == ["zoo"]
    assert store.loadable_tags("resnet20") == store.loadable_tags("senet154") == []
    entry = store.find_entry("resnet20", "zoo")
    cached = tmp_path / "weights" / f"resnet20.zoo-{entry.sha256[:16]}.weights.h5"
    cached.parent.mkdir(parents=True)
    content = (ROOT / "weights" / entry.file).read_bytes()
    cached.write_bytes(content[:-1] + b"?")
    assert store.loadable_tags("resnet20") == []
    cached.write_bytes(content)
    assert store.loadable_tags("resnet20") == ["zoo"] and store.locate(entry) == cached


def test_the_tags_of_this_checkout():
    assert store.loadable_tags("squeeze1") == ["zoo"]


def test_verified_weights_are_loaded_by_one_reading_and_without_another_process(monkeypatch):
    """The bytes that are loaded are those whose hash was verified, and nothing is written."""
    import io
    import os
    import tempfile

    opened = []
    for module in (io, os):

        def count(file, *args, open_=module.open, **kwargs):
            if str(file).endswith(".h5"):
                opened.append(args)
            return open_(file, *args, **kwargs)

        monkeypatch.setattr(module, "open", count)
    for name in ("TemporaryDirectory", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, lambda *_, **__: pytest.fail("a temporary file"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("another process"))
    model = cifar_zoo.models.squeeze1(weights="cifar10")
    assert model.count_params() == 146_570 and len(opened) == 1


def test_weights_go_by_the_registered_name():
    by_other_name = cifar_zoo.models.squeeze1(weights="cifar10", name="resnet20")
    assert by_other_name.count_params() == 146_570


def test_what_there_is_not_is_said():
    message = "senet154 has no published weights yet; `cifar-zoo fit senet154` trains some"
    with pytest.raises(CifarZooError, match=message):
        cifar_zoo.create_model("senet154", weights="cifar10")
    with pytest.raises(CifarZooError, match="squeeze1 has no weights 'imagenet'; there are 'cifar10' and 'zoo'"):
        cifar_zoo.models.squeeze1(weights="imagenet")
