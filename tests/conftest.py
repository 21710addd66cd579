"""Command-line options and fixtures of the whole test suite."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import become_python, read_at_start

import cifar_zoo  # noqa: F401 - before Keras, whose backend reads at its start what this sets

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and waiting OpenMP threads would spin
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background: children would ignore Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run the tests that take long, too")


def pytest_configure(config):
    if config.getoption("--full"):  # oneDNN's own allocator is faster, but keeps its memory: 10 GB for all networks
        os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.path.name != "test_backends.py")  # as long as all others together: at once
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):  # keywords hold the names of folders, too
                item.add_marker(pytest.mark.skip(reason="takes long; runs with --full"))


def pytest_collection_finish():
    """Keep the million objects of the imported libraries out of every later collection, which take 0.3 s otherwise."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def frozen_after_each_module():
    """Free the networks of a module, and keep what lives on, such as compiled functions, out of later collections."""
    yield
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()  # hypothesis, which pytest may import only now, asks for referrers


@pytest.fixture(scope="session")
def cifar10():
    """The real data set, from where CIFAR_ZOO_DATA says."""
    if "CIFAR_ZOO_DATA" not in os.environ:
        pytest.skip("set CIFAR_ZOO_DATA to where CIFAR-10 is")
    from cifar_zoo import load_cifar10

    return load_cifar10()


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """An .npz file of 600 training and 200 test images: real ones where they are at hand, else random colors."""
    import numpy as np

    if "CIFAR_ZOO_DATA" in os.environ:
        from cifar_zoo import load_cifar10

        (x, y), (x_test, y_test) = load_cifar10()
    else:
        random = np.random.default_rng(0)
        x = random.integers(0, 256, (800, 32, 32, 3), dtype="uint8")
        y = random.integers(0, 10, 800, dtype="uint8")
        x[np.arange(800), 8:24, 8:24] = (y * 25)[:, None, None, None]
        x_test, y_test = x[600:], y[600:]
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x_train=x[:600], y_train=y[:600], x_test=x_test[:200], y_test=y_test[:200])
    return path


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """Run a module, a script or code in a process of its own: `python("-m", "cifar_zoo", "list", env={...})`.

    To import TensorFlow takes longer than most commands. On Linux the process is therefore forked from one that has
    imported it, and nothing of cifar_zoo, unless the environment has other settings of Python or of a library.
    """
    at_start = read_at_start(os.environ)
    forks = sys.platform == "linux" and at_start.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    context = multiprocessing.get_context("forkserver" if forks else None)
    context.set_forkserver_preload(["tensorflow", "keras"])

    def run(*arguments, env=None, cwd=ROOT, timeout=600):
        arguments, env = list(map(str, arguments)), {**os.environ, **(env or {})}
        if not forks or read_at_start(env) != at_start:
            command = [sys.executable, *arguments]
            return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=timeout)
        folder = tmp_path_factory.mktemp("process")
        outputs = folder / "stdout", folder / "stderr"
        process = context.Process(target=become_python, args=(arguments, env, cwd, outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, timeout)
        return subprocess.CompletedProcess(arguments, process.exitcode, *(output.read_text() for output in outputs))

    return run


@pytest.fixture(scope="session")
def zoo(python):
    """Run the command in a process of its own: `zoo("list", "--json", env={...})`."""
    return lambda *arguments, **options: python("-m", "cifar_zoo", *arguments, **options)


@pytest.fixture
def channels_first():
    """The global image data format of Keras is channels_first."""
    import keras

    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)
