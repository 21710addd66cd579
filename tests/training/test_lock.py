"""Two trainings in one run directory."""

import os
import signal
import subprocess
import sys

import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.training.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from cifar_zoo.training.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has a run directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_training_is_refused_with_the_first_ones_process_id(holder, small_npz, tmp_path):
    with pytest.raises(CifarZooError, match=f"is in use by another training, process id {holder.pid};"):
        fit_cifar10("nin0", Recipe(epochs=1), data=small_npz, run_dir=tmp_path, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


def test_a_lock_ends_with_its_process(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run.lock").exists()
    with locked(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_for_one_training_of_a_process_too_and_ends_with_an_error(tmp_path):
    with pytest.raises(CifarZooError, match=f"process id {os.getpid()};"), locked(tmp_path), locked(tmp_path):
        pass
    with locked(tmp_path / "new"):
        assert (tmp_path / "new" / "run.lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
