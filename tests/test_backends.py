"""What depends on the backend, once more in a process with JAX and in one with PyTorch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = [
    "cifar_zoo/layers",
    "tests/layers",
    "tests/test_saving.py",
    "tests/training/test_muon.py",
    "tests/training/test_optimizers.py",
    "tests/training/test_resume.py",
    "tests/training/test_sharpness.py",
    "tests/training/test_schedules.py",
    "tests/weights/test_manifest.py",
    "tests/weights/test_publish.py",
]
FULL = ["tests/models", "tests/training/test_fit.py", "tests/evaluation", "tests/cli"]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on(backend, request):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'cifar-zoo[{backend}]'")
    tests = [*TESTS, *FULL] if request.config.getoption("--full") else TESTS
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
