"""The example that trains the rows of the table, run as a script on CIFAR-10."""

import json
import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "reproduce_table.py"


@pytest.fixture
def reproduce(python, cifar10, tmp_path):
    """Run the script; the data is where CIFAR_ZOO_DATA says."""
    return lambda *arguments: python(SCRIPT, *arguments, "--runs", tmp_path / "runs", cwd=tmp_path, timeout=1200)


def test_it_stops_when_the_budget_is_over_and_says_what_is_left(reproduce, tmp_path):
    done = reproduce("--rows", "squeeze1,alex4", "--epochs", 3, "--budget-minutes", 0.1)
    assert done.returncode == 0, done.stderr
    left = re.findall(r"left: (\w+), seed 0: (\d) of 3 epochs, (.*)", done.stdout)
    assert [name for name, *_ in left] == ["squeeze1", "alex4"]
    assert 1 <= int(left[0][1]) <= 3 and left[1][1] == "3"
    assert (tmp_path / "runs" / "squeeze1-zoo-3-epochs-0" / "checkpoint.npz").exists()
    assert not list((tmp_path / "runs" / "results").glob("*/*.json"))


def test_names_and_recipes_that_do_not_exist_are_refused_at_once(reproduce):
    done = reproduce("--rows", "squeeze1,squeeze9")
    assert done.returncode != 0 and "there is no network 'squeeze9'; did you mean" in done.stderr


@pytest.mark.full
def test_rows_are_trained_resumed_and_skipped(reproduce, tmp_path):
    assert reproduce("--rows", "squeeze1", "--epochs", 2).returncode == 0
    arguments = ["--rows", "squeeze1,alex4", "--epochs", 2]
    stopped = reproduce(*arguments, "--budget-minutes", 0.3)
    assert "left: squeeze1" not in stopped.stdout
    assert re.match(r"left: alex4, .* minutes", stopped.stdout.splitlines()[-1])
    done = reproduce(*arguments)
    assert done.returncode == 0 and "left:" not in done.stdout, done.stderr
    accuracies = {}
    for name in ("squeeze1", "alex4"):
        result = json.loads((tmp_path / "runs" / "results" / name / "zoo-2-epochs-0.json").read_text())
        assert result["epochs"] == 2 and result["examples"] == 50_000
        accuracies[name] = 100 * result["test_accuracy"]
        assert accuracies[name] > 50
        assert re.search(rf"{name} .* {accuracies[name]:.2f} \(-[\d.]+\) +1 +2 ", done.stdout)
    again = reproduce(*arguments)
    assert "epoch 1/2" not in again.stdout and again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]
