"""Which files ask for the backend."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "cifar_zoo"
ROOMS = ("layers", "models", "weights", "evaluation", "data")


@pytest.mark.parametrize("path", [path for room in ROOMS for path in (ROOT / room).rglob("*.py")], ids=str)
def test_only_the_room_backend_asks_for_the_backend(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func).split(".")[-2:] != ["backend", "backend"], f"line {node.lineno}"
            assert ast.unparse(node.func) != "keras.config.backend", f"line {node.lineno}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {str(module).split(".")[0] for module in modules} & {"tensorflow", "jax", "torch"}
