"""The process that reads weights files: what it imports, what it needs, and files that change under its eyes."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, load_weights, save_weights
from cifar_zoo.weights import files, store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, bias_initializer="ones")], name="tiny")


@pytest.fixture
def path(network, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(network, path)
    return path


@pytest.fixture
def load(path):
    """Load the file into a new network, and return the bias."""

    def load(path=path):
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="tiny")
        load_weights(network, path)
        return network.get_weights()[1].tolist()

    return load


LOADED = [1.0, 1.0, 1.0]


def test_nothing_beside_the_file_and_nothing_in_the_search_path_is_run(load, path, tmp_path, monkeypatch):
    """Modules under the names of those that the reader imports, and under those that any Python runs at its start."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("json", "contextlib", "math", "numpy", "h5py", "runpy", "importlib", "sitecustomize", "usercustomize"):
        (hostile / f"{name}.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\nraise SystemExit")
    (hostile / "evil.pth").write_text(f"import os; open({str(tmp_path / 'was-run')!r}, 'w')")
    shutil.move(path, hostile)
    monkeypatch.chdir(hostile)
    monkeypatch.setattr(sys, "path", ["", str(hostile), *sys.path])
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE"):
        monkeypatch.setenv(name, str(hostile))
    assert load(path.name) == LOADED
    assert not (tmp_path / "was-run").exists()


def test_every_module_is_of_the_standard_library_or_of_the_two_packages(tmp_path, monkeypatch):
    """Also where the packages lie beside hundreds of others."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import sys, contextlib, json, math, h5py, numpy\n"
        "print(*{getattr(m, '__file__', None) for m in list(sys.modules.values())} - {None}, sep='\\n')\n"
        "try:\n    import keras\nexcept ImportError:\n    print('refused')\n"
    )
    packages = [f"{package.__name__}={package.__file__}" for package in (np, h5py)]
    command = [sys.executable, "-I", "-S", "-c", files._START, str(probe), "0", *packages]
    *found, last = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    standard = Path(os.__file__).resolve().parent
    allowed = [standard, *(Path(package.__file__).resolve().parent for package in (np, h5py))]
    for file in map(Path, found):
        assert any(file.resolve().is_relative_to(folder) for folder in allowed) or file == probe, file
        assert "site-packages" not in file.parts or {"numpy", "h5py"} & set(file.parts), file
    assert len(found) > 100 and last == "refused"


def test_paths_in_the_search_path_that_are_no_strings(load, monkeypatch):
    monkeypatch.setattr(sys, "path", [Path(), *sys.path])
    assert load() == LOADED


@pytest.mark.parametrize("program", [None, "", "/nowhere/python"])
def test_without_a_python_to_start(load, path, monkeypatch, program):
    """As in a program that Python is embedded in."""
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(CifarZooError, match="is read by a Python process .* set sys.executable to the path of Python$"):
        load()


def test_loading_writes_no_file(load, tmp_path, monkeypatch):
    """So that it works where neither the temporary folder nor any disk has room."""
    resource = pytest.importorskip("resource")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            (tmp_path / "other").write_bytes(b"content")
        assert load() == LOADED
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FULL = """
import sys
import cifar_zoo
model = cifar_zoo.create_model("nin0")
try:
    cifar_zoo.save_weights(model, sys.argv[1])
except OSError as error:
    print(error)
"""


@pytest.mark.full
def test_a_full_file_system(tmp_path):
    """A small one of its own, which also holds the temporary folder: one line, and nothing is left."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    target = tmp_path / "full.weights.h5"
    script = f"""
    mount -t tmpfs -o size=100k none {tmp_path} || exit 99
    TMPDIR={tmp_path} {sys.executable} -c '{FULL}' {target}; echo code $?; ls -A {tmp_path}
    """
    run = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, cwd=ROOT)
    if "unshare:" in run.stderr or run.returncode == 99:
        pytest.skip(f"no file system can be mounted here: {run.stderr}")
    assert run.stdout == f"[Errno 28] No space left on device: '{target}'\ncode 0\n", run.stderr


def swapping(path, *contents):
    """Replace a file again and again until the context ends; None stands for a pipe."""

    class Swapping:
        def __enter__(self):
            self.over = threading.Event()
            self.thread = threading.Thread(target=self.run)
            self.thread.start()

        def run(self):
            other = path.with_name("other")
            while not self.over.is_set():
                for content in contents:
                    os.mkfifo(other) if content is None else other.write_bytes(content)
                    other.replace(path)

        def __exit__(self, *_):
            self.over.set()
            self.thread.join()

    return Swapping()


def test_published_weights_that_are_swapped_meanwhile(monkeypatch, tmp_path):
    """Those that are loaded are those whose hash was right."""
    entry = store.find_entry("squeeze1", "cifar10")
    path = tmp_path / entry.file
    path.parent.mkdir(parents=True)
    right = (ROOT / "weights" / entry.file).read_bytes()
    right_values = files.read_verified(right).values
    path.write_bytes(right)
    wrong = bytearray(right)
    start = right.index(right_values["classifier/1"].tobytes())
    wrong[start : start + 20] = np.ones(10, "float16").tobytes()
    monkeypatch.setattr(store, "FOLDERS", (tmp_path,))
    loaded = refused = 0
    with swapping(path, right, wrong):
        while not (loaded and refused):
            try:
                model = cifar_zoo.models.squeeze1(weights="cifar10")
            except CifarZooError as error:
                refused += "is damaged: it has the SHA-256" in str(error)
            else:
                loaded += 1
                np.testing.assert_array_equal(
                    model.get_layer("classifier").get_weights()[1], right_values["classifier/1"]
                )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_that_takes_the_place_of_a_file_blocks_nobody(network, path):
    entry = store.find_entry("squeeze1", "cifar10")
    content = path.read_bytes()
    seen = set()
    with swapping(path, content, None):
        while len(seen) < 2:
            seen.add(entry.read(path)[1])
        for _ in range(6):
            try:
                load_weights(network, path)
            except CifarZooError as error:
                assert "there is no weights file" in str(error)
    assert seen == {"is not there", f"has {len(content):,} bytes instead of {entry.bytes:,}"}
