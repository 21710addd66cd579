"""The zoo where TensorFlow is not installed: processes in which no finder of modules finds it."""

import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

# Python runs it at its start.
SITECUSTOMIZE = """
import sys
from importlib.machinery import PathFinder

class Finder:
    def find_spec(name, path=None, target=None):
        return None if name in {hidden} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


@pytest.fixture
def without(tmp_path):
    """Return the environment of a process in which packages are not installed."""

    def environment(*hidden, **more):
        folder = tmp_path / "-".join(hidden)
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.replace("{hidden}", repr(set(hidden))))
        return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), **more}

    return environment


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.full), "torch"])
def test_one_other_backend_will_do(zoo, without, backend, small_npz, tmp_path):
    pytest.importorskip(backend)
    hidden = ["tensorflow", "tf2onnx", *{"jax", "torch"} - {backend}]
    surroundings = without(*hidden, KERAS_BACKEND=backend)
    Image.fromarray(np.zeros((40, 50, 3), "uint8")).save(tmp_path / "image.png")
    done = zoo("predict", "squeeze1", tmp_path / "image.png", "--json", env=surroundings)
    assert done.returncode == 0 and len(json.loads(done.stdout)[0]["classes"]) == 3, done.stderr
    run = ["--epochs", 1, "--examples", 100, "--data", small_npz, "--run-dir", tmp_path / "run"]
    done = zoo("fit", "nin0", *run, "--json", env=surroundings)
    assert done.returncode == 0, done.stderr
    fitted = json.loads(done.stdout)
    assert fitted["finished"]
    weights = tmp_path / "run" / "model.weights.h5"
    done = zoo("evaluate", "nin0", "--weights", weights, "--data", small_npz, "--json", env=surroundings)
    assert json.loads(done.stdout)["correct"] == fitted["test_correct"], done.stderr


@pytest.mark.parametrize(
    "format, writers",
    [("onnx", "tensorflow or torch"), ("saved_model", "tensorflow"), ("litert", "tensorflow")],
)
def test_what_writes_a_format_is_said(zoo, without, format, writers, tmp_path):
    pytest.importorskip("jax")
    hidden = without("tensorflow", "torch", KERAS_BACKEND="jax")
    done = zoo("export", "squeeze1", "--format", format, env=hidden, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f" is written by {writers}, which is not installed: pip install tensorflow\n")
    assert len(done.stderr.splitlines()) == 1


def test_torch_writes_onnx(zoo, without, tmp_path):
    for package in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    hidden = without("tensorflow", "tf2onnx", KERAS_BACKEND="torch")
    done = zoo("export", "squeeze1", "--json", env=hidden, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["largest_difference"] < 1e-4


def test_the_backends_that_are_there_are_named(zoo, without):
    pytest.importorskip("jax")
    done = zoo("info", "nin0", env=without("tensorflow", "torch", KERAS_BACKEND="tensorflow"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "cifar-zoo: Keras cannot be loaded with the backend 'tensorflow' (KERAS_BACKEND): No module named "
        "'tensorflow'; set KERAS_BACKEND to jax, which is installed\n"
    )


def test_the_documentation_names_all_other_dependencies():
    page = (ROOT / "docs" / "install.md").read_text()
    named = re.findall(r"'([^']+)'", re.search(r"^pip install ('anyio.*?)^pip", page, re.M | re.S).group(1))
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert named == [each for each in needed if not each.startswith("tensorflow")]
