"""`cifar-zoo fit` as a process: its time, its seeds and its signals."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

# The time is up after so many runs, by a clock that jumps ahead in each.
DRIVER = """
import sys, time
import cifar_zoo.training.fit as fit
from cifar_zoo.cli import main
real, now = time.monotonic, [0.0]
train = fit.fit_cifar10

def trains(*arguments, **options):
    run = train(*arguments, **options)
    now[0] += 3600
    return run

fit.fit_cifar10 = trains
time.monotonic = lambda: real() + now[0]
sys.argv[0] = "cifar-zoo"
main()
"""


@pytest.fixture
def drive(python):
    return lambda *arguments: python("-c", DRIVER, *arguments)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_time_may_be_up_after_a_seed(drive, small_npz, tmp_path, as_json):
    arguments = ["fit", "nin0", "--epochs", 1, "--examples", 100, "--data", small_npz, "--run-dir", tmp_path / "run"]
    arguments += ["--seeds", "0,1,2", "--max-minutes", 50, *(["--json"] if as_json else [])]
    done = drive(*arguments)
    assert done.returncode == 0, done.stderr
    message = "stopped by --max-minutes before seed 1; the same command resumes with it"
    assert (done.stderr if as_json else done.stdout).splitlines()[-1] == message
    if as_json:
        assert json.loads(done.stdout)["finished"]
    assert [path.name for path in tmp_path.iterdir()] == ["run-0"]


@pytest.mark.parametrize(
    "minutes, message",
    [
        ("nan", "max_minutes must be a finite number, not nan"),
        ("1e400", "max_minutes must be a finite number, not inf"),
        ("-1", "max_minutes must be positive, not -1.0"),
    ],
)
def test_minutes_that_are_none_are_refused(zoo, small_npz, tmp_path, minutes, message):
    done = zoo("fit", "nin0", "--max-minutes", minutes, "--data", small_npz, "--run-dir", tmp_path / "run")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"cifar-zoo: {message}\n")


def test_the_accuracy_is_that_of_the_images_that_were_measured(zoo, small_npz, tmp_path):
    arguments = ["fit", "nin0", "--epochs", 1, "--examples", 100, "--data", small_npz]
    text = zoo(*arguments, "--holdout", 100, "--run-dir", tmp_path / "one", "--seeds", "0,1").stdout.splitlines()
    assert text[1].startswith("held-out accuracy ") and " on 100 images; the run is in " in text[1]
    assert text[-1].startswith("held-out accuracy of 2 seeds: ")
    text = zoo(*arguments, "--holdout", 100, "--evaluate-test", "--run-dir", tmp_path / "both").stdout
    assert "test accuracy " in text and " on 200 images" in text
    text = zoo(*arguments, "--no-evaluate-test", "--run-dir", tmp_path / "none").stdout
    assert text.splitlines()[-1] == f"trained for 1 epochs; the run is in {tmp_path / 'none'}"


def test_the_scheduler_of_a_cluster_stops_it(small_npz, tmp_path):
    command = [sys.executable, "-m", "cifar_zoo", "fit", "nin0", "--epochs", 500, "--data", small_npz]
    command += ["--run-dir", tmp_path]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in errors
    assert np.load(tmp_path / "checkpoint.npz")["state"].size  # whole
    assert not (tmp_path / "run.lock").exists()
