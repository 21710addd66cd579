"""Locks between processes, and two trainings in one run directory."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from cifar_zoo.lock import locked
with locked(Path(sys.argv[1]) / "run.lock", "another training", "wait"):
    print("locked", flush=True)
    time.sleep(60)
"""


def lock(directory, **options):
    return locked(directory / "run.lock", "another training", "wait for it", **options)


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
    with lock(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_for_one_training_of_a_process_too_and_ends_with_an_error(tmp_path):
    with pytest.raises(CifarZooError, match=f"process id {os.getpid()};"), lock(tmp_path), lock(tmp_path):
        pass
    with lock(tmp_path / "new"):
        assert (tmp_path / "new" / "run.lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_lock_can_be_waited_for(holder, tmp_path):
    started = time.monotonic()
    with pytest.raises(CifarZooError, match=f"another training, process id {holder.pid}; wait for it"):
        lock(tmp_path, wait=0.3).__enter__()
    assert time.monotonic() - started >= 0.3
    threading.Timer(0.3, holder.kill).start()
    with lock(tmp_path, wait=60):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800\udfff", "file/run"])
def test_what_can_be_no_run_directory_is_refused_in_one_line(small_npz, tmp_path, name):
    (tmp_path / "file").write_text("?")
    if name == "\ud800\udfff" and os.name != "posix":
        pytest.skip("a valid name")
    with pytest.raises(CifarZooError, match="^the folder '.* cannot be created: ") as caught:
        fit_cifar10("nin0", Recipe(epochs=1), data=small_npz, run_dir=tmp_path / name, verbose=0)
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_line_refuses_it_too(zoo, small_npz):
    done = zoo("fit", "nin0", "--epochs", 1, "--data", small_npz, "--run-dir", "x" * 5000)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr) < 300
    assert done.stderr.startswith("cifar-zoo: the folder 'xxx") and done.stderr.endswith("File name too long\n")


@pytest.mark.skipif(os.name != "posix", reason="there are no pipes in folders")
def test_something_else_in_the_place_of_the_lock_is_refused(tmp_path):
    os.mkfifo(tmp_path / "run.lock")
    with pytest.raises(CifarZooError, match="run.lock is not a regular file; remove it"):
        lock(tmp_path).__enter__()
    (tmp_path / "run.lock").unlink()
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "run.lock").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="run.lock"):
        lock(tmp_path).__enter__()
    assert (tmp_path / "outside").read_text() == "untouched"
