"""Several processes of JAX on the loopback: they train like one device, end together, and resume."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cifar_zoo import CifarZooError
from cifar_zoo.backend.processes import process_of_several

PROGRAM = Path(__file__).with_name("process_run.py")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def popen(arguments, **environment):
    """A process that is killed at the end of this context."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", **environment}
    command = list(map(str, [sys.executable, *arguments]))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def start(commands, environments=({}, {}), timeout=200):
    """Run processes side by side, and return the output, the errors and the exit code of each."""
    with contextlib.ExitStack() as stack:
        pairs = zip(commands, environments, strict=False)
        processes = [stack.enter_context(popen(command, **environment)) for command, environment in pairs]
        return [(*process.communicate(timeout=timeout), process.returncode) for process in processes]


def train(folder, data, *options):
    """Train in one process for each list of options, each with a run directory of its own."""
    port, commands = free_port(), []
    for number, more in enumerate(options):
        join = ["--process", port, len(options), number] if len(options) > 1 else []
        commands.append([PROGRAM, folder / str(number), data, *join, *more])
    return start(commands)


def figures(done):
    """What the processes printed, all of which ended well."""
    assert [code for _, _, code in done] == [0] * len(done), done
    return [json.loads(output.splitlines()[-1]) for output, _, _ in done]


@pytest.fixture(scope="module")
def alone(small_npz, tmp_path_factory):
    """The figures of one device, without any distribution."""
    pytest.importorskip("jax")
    return figures(train(tmp_path_factory.mktemp("alone"), small_npz, []))[0]


@pytest.fixture(scope="module")
def pair(small_npz, tmp_path_factory):
    """The figures of two processes, and the folder of their run directories."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("pair")
    done = train(folder, small_npz, [], [])
    assert [output.count("epoch ") for output, _, _ in done] == [3, 0]  # process 0 alone prints
    return figures(done), folder


@pytest.mark.full
def test_two_processes_train_like_one_device(pair, alone):
    (first, second), folder = pair
    assert {**first, "process": 1} == second and first["processes"] == 2 and alone["processes"] is None
    assert len(alone["losses"]) == 24 and np.ptp(alone["losses"]) > 0.1
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-5)
    np.testing.assert_allclose(first["val_loss"], alone["val_loss"], rtol=1e-5)  # of 37 images
    np.testing.assert_allclose(first["test_loss"], alone["test_loss"], rtol=1e-4)  # of weights rounded to float16
    names = {"config.json", "history.csv", "metrics.json", "model.weights.h5", "checkpoint.npz"}
    assert {path.name for path in (folder / "0").iterdir()} == names
    assert not (folder / "1").exists()  # process 0 alone writes


@pytest.mark.full
def test_a_finished_run_is_read_by_process_0_for_all(pair, small_npz, tmp_path):
    (first, _), folder = pair
    shutil.copytree(folder / "0", tmp_path / "0")
    for found in figures(train(tmp_path, small_npz, [], [])):
        assert found["losses"] == [] and found["weights"] == first["weights"] and found["loss"] == first["loss"]


@pytest.mark.full
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_others_and_the_run_resumes(pair, alone, small_npz, tmp_path, lost):
    options = [[], []]
    options[lost] = ["--end", 13, "SIGKILL"]
    began = time.monotonic()
    done = train(tmp_path, small_npz, *options)
    assert time.monotonic() - began < 200
    assert done[lost][2] == -9
    _, errors, code = done[1 - lost]
    if lost == 1:
        assert code == 2 and errors.splitlines()[-1].startswith("another process of this training is lost (")
    else:  # JAX itself ends the others, as process 0 has the coordination service
        assert code in (2, -6)
        assert "another process of this training is lost" in errors or "another task died" in errors
    shutil.copytree(tmp_path / "0", tmp_path / "one" / "0")
    (first, _), _ = pair
    for found in figures(train(tmp_path, small_npz, [], [])):
        assert found["losses"] == first["losses"][10:]  # from the checkpoint before step 10, to the bit
        assert found["weights"] == first["weights"] and found["val_loss"] == first["val_loss"]
    (found,) = figures(train(tmp_path / "one", small_npz, []))
    np.testing.assert_allclose(found["losses"], alone["losses"][10:], rtol=1e-5)


@pytest.mark.full
def test_a_signal_to_one_process_ends_all_at_the_same_step(pair, small_npz, tmp_path):
    done = train(tmp_path, small_npz, [], ["--end", 13, "SIGTERM"])
    assert [code for _, _, code in done] == [143, 143], done
    (first, _), _ = pair
    for found in figures(train(tmp_path, small_npz, [], [])):
        assert found["losses"] == first["losses"][14:] and found["weights"] == first["weights"]


@pytest.mark.full
def test_the_time_limit_of_process_0_ends_all_at_the_same_step(pair, small_npz, tmp_path):
    limit = 1.0  # minutes, in which the first steps are done, and not 24 with pauses of 10 s
    done = train(tmp_path, small_npz, ["--max-minutes", limit, "--slow", 10], ["--max-minutes", 1000])
    first, second = figures(done)
    assert first["losses"] == second["losses"] and len(first["losses"]) < 24 and first["files"] is None
    (whole, _), _ = pair
    for found in figures(train(tmp_path, small_npz, [], [])):
        assert found["losses"] == whole["losses"][len(first["losses"]) :] and found["weights"] == whole["weights"]


@pytest.mark.full
def test_processes_with_other_options_are_refused(small_npz, tmp_path):
    done = train(tmp_path, small_npz, [], ["--seed", 1])
    for _, errors, code in done:
        message = "the processes differ in seed; start all of them with the same options and data"
        assert code == 2 and errors.splitlines()[-1] == message
    assert not (tmp_path / "0" / "config.json").exists()


@pytest.mark.full
@pytest.mark.parametrize("scheduler", [None, "SLURM"])
def test_the_command_trains_in_two_processes(scheduler, small_npz, tmp_path):
    pytest.importorskip("jax")
    port, commands, environments = free_port(), [], []
    for number in range(2):
        join = ["--coordinator", f"127.0.0.1:{port}", "--processes", 2, "--process-id", number]
        environments.append({})
        if scheduler:
            values = {"JOB_ID": 7, "STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": number, "LOCALID": number}
            environments[-1] = {f"SLURM_{name}": str(value) for name, value in values.items()}
            environments[-1]["JAX_COORDINATOR_PORT"] = str(port)  # JAX would choose one by the number of the job
            join = ["--distributed"]
        run = ["--data", small_npz, "--run-dir", tmp_path / str(number), "--epochs", 1, "--batch-size", 100]
        commands.append(["-m", "cifar_zoo", "fit", "squeeze1", *run, *join])
    (output, errors, code), (silent, none, end) = start(commands, environments)
    assert (code, end) == (0, 0), errors + none
    assert "2 devices of 2 processes share each batch" in output and "test accuracy" in output
    assert [line for line in silent.splitlines() if "[Gloo]" not in line] == [] and none == ""
    metrics = json.loads((tmp_path / "0" / "metrics.json").read_text())
    assert metrics["processes"] == 2 and "127.0.0.1" not in metrics["command"]
    (output, errors, code), (_, _, end) = start([[*command, "--no-resume"] for command in commands], environments)
    assert (code, end) == (2, 2) and "holds a run already" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "given, message",
    [
        (("host:1234", None, None), "give --processes and --process-id as well"),
        ((None, 2, 0), "give --coordinator as well"),
        (("host", 2, 0), "coordinator must be HOST:PORT, not 'host'"),
        (("host:99999", 2, 0), "coordinator must be HOST:PORT, not 'host:99999'"),
        (("host:1234", 0, 0), "processes must be 1 or more, not 0"),
        (("host:1234", 2, 2), "process_id must be from 0 to 1, not 2"),
    ],
)
def test_the_options_of_a_process_are_checked(given, message):
    with pytest.raises(CifarZooError, match=message):
        process_of_several(*given)
    assert process_of_several("10.0.0.1:1234", 2, 1) and not process_of_several(None, None, None)


# The command, which does not wait for other processes as long as usual.
IMPATIENT = """
from cifar_zoo.backend import processes
from cifar_zoo.cli import main
processes.CONNECT_SECONDS = 2.0
main()
"""


@pytest.mark.parametrize("process_id", [0, pytest.param(1, marks=pytest.mark.full)])
def test_processes_that_do_not_come_are_reported(process_id, small_npz, tmp_path):
    pytest.importorskip("jax")
    address = f"127.0.0.1:{free_port()}"
    join = ["--coordinator", address, "--processes", 2, "--process-id", process_id]
    run = ["fit", "squeeze1", "--data", small_npz, "--run-dir", tmp_path / "run"]
    ((_, errors, code),) = start([["-c", IMPATIENT, *run, *join]], timeout=120)
    assert code == 2 and len(errors.splitlines()) == 1
    assert f"not all processes have connected to the coordinator {address} within 2 s" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_a_taken_port_and_an_environment_without_processes_are_reported(zoo, small_npz, tmp_path):
    pytest.importorskip("jax")
    arguments = ["fit", "squeeze1", "--data", small_npz, "--run-dir", tmp_path / "run"]
    with socket.create_server(("", 0)) as server:
        join = ["--coordinator", f"localhost:{server.getsockname()[1]}", "--processes", 2, "--process-id", 0]
        done = zoo(*arguments, *join, env={"KERAS_BACKEND": "jax"}, timeout=120)
    assert done.returncode == 2 and "(Address already in use); choose another" in done.stderr
    done = zoo(*arguments, "--distributed", env={"KERAS_BACKEND": "jax"}, timeout=120)
    assert done.returncode == 2 and "the environment does not name the processes of a training" in done.stderr
    done = zoo(*arguments, "--distributed", env={"KERAS_BACKEND": "tensorflow"})
    assert done.returncode == 2 and "only the JAX backend trains in several processes, not tensorflow" in done.stderr
    assert not (tmp_path / "run").exists()
