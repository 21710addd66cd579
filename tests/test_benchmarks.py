"""The benchmark of the training step, as a process."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "train_step.py"


def measure(tmp_path, *arguments):
    file = tmp_path / "report.json"
    command = [sys.executable, SCRIPT, *arguments, "--json", file]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


@pytest.mark.full
@pytest.mark.parametrize("network", ["resnet20", "squeeze1", "alex0", "se_resnet50"])
def test_both_sides_train_the_same_network(tmp_path, network):
    pytest.importorskip("torch")
    report = measure(tmp_path, network, "--batch", 8, "--steps", 1, "--rounds", 2)
    assert report["logits_differ_by"] < 1e-3
    assert min(report["pictures_per_second"].values()) > 0
    assert [len(rounds) for rounds in report["rounds_seconds"].values()] == [2, 2]


@pytest.mark.full
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs each operation by itself")
def test_fit_adds_less_than_four_milliseconds_to_a_step(tmp_path):
    assert measure(tmp_path, "none")["fit"]["overhead_ms"] < 4
