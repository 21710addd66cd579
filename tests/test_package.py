"""What holds for the package as a whole: quick imports, one direction of imports, no backend where none is needed."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


# The rooms from the bottom to the top. A room may import from those below it and from itself, at module level as well
# as inside of functions.
ROOMS = (
    ("errors", "lazy", "version"),
    ("checks",),
    ("files", "download", "npz"),
    ("lock",),
    ("backend",),
    ("data",),
    ("layers",),
    ("registry",),
    ("models",),
    ("weights",),
    ("evaluation",),
    ("training", "exporting"),
    ("results",),
    ("publishing",),
    ("cli",),
    ("__init__", "__main__"),
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}


def room_of(path):
    """The room of a source file: the folder below cifar_zoo/ that it is in, or its own name."""
    return path.relative_to(ROOT / "cifar_zoo").parts[0].removesuffix(".py")


def imported_rooms(tree):
    """The rooms that a file imports from, wherever the import stands, and where a module is imported by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
            "LazyModule",
        ):
            modules = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        else:
            continue
        for module in modules:
            first, *inside = str(module).split(".")
            if first == "cifar_zoo":
                yield inside[0] if inside and inside[0] in RANK else "__init__"


def test_every_room_has_a_rank():
    assert {room_of(path) for path in SOURCES} <= RANK.keys()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room = room_of(path)
    for other in imported_rooms(ast.parse(path.read_text())):
        assert RANK[other] <= RANK[room], f"{room} imports from {other}"


@pytest.mark.parametrize(
    "code, rooms",
    [
        ("import cifar_zoo.training.fit", ["training"]),
        ("from cifar_zoo import layers, predict", ["layers", "__init__"]),
        ("def f():\n    from cifar_zoo.weights.store import locate", ["weights"]),
        ("if TYPE_CHECKING:\n    from cifar_zoo.registry import Row", ["registry"]),
        ("importlib.import_module('cifar_zoo.models')", ["models"]),
        ("import_module(f'cifar_zoo.{name}')", ["__init__"]),
        ("store = LazyModule('cifar_zoo.weights.store')", ["weights"]),
        ("import keras, numpy", []),
    ],
)
def test_no_import_goes_unseen(code, rooms):
    assert list(imported_rooms(ast.parse(code))) == rooms


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


def test_type_checkers_see_the_public_names():
    """In the stub, each where it is defined."""
    for node in ast.parse((ROOT / "cifar_zoo" / "__init__.pyi").read_text()).body:
        for alias in node.names:
            home = importlib.import_module(f"cifar_zoo.{node.module}" if node.module else "cifar_zoo")
            assert alias.asname == alias.name and getattr(home, alias.name) is getattr(cifar_zoo, alias.name)
            assert alias.name in [*cifar_zoo.__all__, "__version__"]


def test_the_source_distribution_has_all_files():
    """But those of the forge, and the large weights, which tests/weights/test_manifest.py knows."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("only a checkout knows which files there are")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    included = tuple(f"{path.removeprefix('/')}/" for path in targets["sdist"]["include"])
    always = ("README.md", "LICENSE", "pyproject.toml", ".gitignore")  # by hatchling
    left = [path for path in listed.splitlines() if not f"{path}/".startswith(included)]
    assert {path.split("/")[0] for path in left if path not in always} == {".github", "weights"}


def test_the_conda_recipe_is_of_this_version_and_its_dependencies():
    """Their floors included, whichever way the two packagers spell a name."""
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]

    def parsed(texts):
        found = [Requirement(text) for text in texts]
        return {canonicalize_name(each.name): each.specifier for each in found}

    minimum = recipe["context"]["python_min"]
    run = [text.replace("${{ python_min }}", minimum) for text in recipe["requirements"]["run"]]
    assert parsed(run) == parsed([*project["dependencies"], f"python {project['requires-python']}"])
    host = {text.replace(" ", "") for text in recipe["requirements"]["host"]}
    assert set(pyproject["build-system"]["requires"]) < host
    assert recipe["context"]["version"] == cifar_zoo.__version__ and recipe["package"]["name"] == project["name"]
    assert recipe["source"]["url"].endswith("/c/cifar-zoo/cifar_zoo-${{ version }}.tar.gz")
    assert re.fullmatch("[0-9a-f]{64}", recipe["source"]["sha256"])
    about = recipe["about"]
    assert (about["summary"], about["license"], about["license_file"]) == (
        project["description"],
        project["license"],
        *project["license-files"],
    )


def test_the_metadata_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert f"version: {cifar_zoo.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {cifar_zoo.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert (ROOT / "cifar_zoo" / "py.typed").exists()
    assert isinstance(json.loads((ROOT / "weights_manifest.json").read_text()), dict)
