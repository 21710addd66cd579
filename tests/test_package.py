"""What holds for the package as a whole: quick imports, one direction of imports, no backend where none is needed."""

import ast
import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import cifar_zoo

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "cifar_zoo").rglob("*.py"))
BACKENDS = {"tensorflow", "jax", "torch", "keras"}


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_import_is_quick_and_loads_no_backend():
    code = (
        "import sys, time; t = time.perf_counter(); import cifar_zoo; t = time.perf_counter() - t;"
        "cifar_zoo.list_models(); cifar_zoo.model_info('resnet20');"
        f"print(t, sorted({BACKENDS} & set(sys.modules)))"
    )
    seconds, loaded = min(run_python(code).split(maxsplit=1) for _ in range(3))
    assert float(seconds) < 0.3
    assert loaded.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["info", "resnet20", "--brief"], ["list", "--json"], ["recipes", "nin"], ["results"], ["--help"]],
)
def test_list_and_info_are_quick(zoo, arguments):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert zoo(*arguments).returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_backend_is_imported_at_module_level_and_nothing_of_keras_that_is_private(path):
    tree = ast.parse(path.read_text())
    inside = {id(node) for scope in ast.walk(tree) if isinstance(scope, ast.FunctionDef) for node in ast.walk(scope)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            assert not name.startswith("keras.src"), name
            if name.split(".")[0] in {"tensorflow", "jax", "torch"}:
                assert id(node) in inside, f"{name} at module level"


ORDER = {  # a room may import from rooms of a lower number, and from its own
    "lazy": 0, "errors": 0, "files": 0.5, "registry": 1, "layers": 1, "models": 2, "weights": 2, "data": 2,
    "environment": 3, "evaluation": 3, "training": 3, "export": 4, "saving": 4, "cli": 5, "__main__": 6, "__init__": 6,
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room = path.relative_to(ROOT / "cifar_zoo").parts[0].removesuffix(".py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cifar_zoo"):
            parts = node.module.split(".")
            others = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            for other in others:
                assert ORDER.get(other, 6) <= ORDER[room], f"{room} imports {node.module}"


def test_models_exports_exactly_what_is_registered():
    assert sorted(cifar_zoo.models.__all__) == sorted(cifar_zoo.list_models())
    for name in cifar_zoo.models.__all__:
        assert getattr(cifar_zoo.models, name) is cifar_zoo.model_info(name).build


def test_every_public_name_can_be_had():
    for name in cifar_zoo.__all__:
        assert getattr(cifar_zoo, name) is not None
    for name in cifar_zoo.layers.__all__:
        assert getattr(cifar_zoo.layers, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        cifar_zoo.nonsense  # noqa: B018


def test_the_metadata_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert f"version: {cifar_zoo.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {cifar_zoo.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert (ROOT / "cifar_zoo" / "py.typed").exists()
    assert isinstance(json.loads((ROOT / "weights_manifest.json").read_text()), dict)
