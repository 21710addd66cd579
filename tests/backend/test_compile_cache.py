"""The compilation cache is shared between processes."""

import json
import os
import subprocess
import sys

import pytest

DRIVER = """
import json, sys
from cifar_zoo import Recipe, fit_cifar10
recipe = Recipe(epochs=1, batch_size=50, padding=0, ema_decay=None)
import jax
configured = jax.config.jax_compilation_cache_dir
run = fit_cifar10("resnet20", recipe, data=sys.argv[1], examples=100, run_dir=sys.argv[2], verbose=0)
assert jax.config.jax_compilation_cache_dir == configured  # as the program had it
print(json.dumps({"loss": run.history[0]["loss"], **run.metrics}))
"""


def train(data, directory, home, **environment):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(data), str(directory)],
        env={**os.environ, "KERAS_BACKEND": "jax", "CIFAR_ZOO_HOME": str(home), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.full
def test_the_second_process_compiles_nothing_that_took_long_and_gives_the_same(small_npz, tmp_path):
    pytest.importorskip("jax")
    first = train(small_npz, tmp_path / "1", tmp_path)
    kept = {file.name for file in (tmp_path / "jax").glob("*-cache")}
    assert kept  # a step that was compiled in vain would be added under a name of its own
    second = train(small_npz, tmp_path / "2", tmp_path)
    assert {file.name for file in (tmp_path / "jax").glob("*-cache")} == kept
    assert (second["loss"], second["test_loss"]) == (first["loss"], first["test_loss"])
    train(small_npz, tmp_path / "3", tmp_path / "home", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert any((tmp_path / "own").iterdir()) and not (tmp_path / "home").exists()


@pytest.mark.full
def test_a_folder_that_cannot_be_made_stops_nothing(small_npz, tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "file").write_text("")
    assert train(small_npz, tmp_path / "run", tmp_path / "file")["test_images"] == 200
