"""What may be around a process: Python's flags, Keras' settings, streams, locales, and backends that are not whole."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cifar_zoo import CifarZooError
from cifar_zoo.errors import escaped

# What people do, in a program that has set its own generators and lets NumPy raise. Everything is imported late.
PROGRAM = """
import json, random, sys
from pathlib import Path
import numpy as np
import cifar_zoo
from cifar_zoo.cli import main

folder = Path(sys.argv[1])
image, colored = str(folder / "a.png"), str(folder / "b\\x1b[31mred.png")
random.seed(1), np.random.seed(1), np.seterr(all="raise")
before = random.getstate(), np.random.get_state()[1].tolist(), np.geterr()
x, y = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), "uint8"), np.arange(40) % 10
recipe = cifar_zoo.Recipe(epochs=1, batch_size=20, optimizer="muon", global_clipnorm=1.0)
run = cifar_zoo.fit_cifar10("nin0", recipe, data=((x, y), (x, y)), run_dir=folder / "run", verbose=0)
after = random.getstate(), np.random.get_state()[1].tolist(), np.geterr()
import keras

found = {
    "optimize": sys.flags.optimize,
    "settings": [keras.config.floatx(), keras.config.dtype_policy().name, keras.config.image_data_format()],
    "same": before == after,
    "dtypes": sorted({weight.dtype for weight in run.model.weights}),
    "evaluated": cifar_zoo.evaluate(run.model, (x, y))["loss"] == run.metrics["test_loss"],
    "predicted": cifar_zoo.predict(run.model, [image])[0]["path"] == image,
    "codes": [],
}
sys.stdout.flush()
for line in (
    ["list", "nin0"], ["info", "nin0"], ["recipes", "nin0"], ["--help"],
    ["predict", "nin0", image, colored, "--weights", str(folder / "run" / "model.weights.h5")],
):
    try:
        sys.argv = ["cifar-zoo", *line]
        main()
    except SystemExit as error:
        found["codes"].append(error.code or 0)
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b\x1b[31mred.png"):
        Image.fromarray(np.zeros((40, 40, 3), "uint8")).save(tmp_path / name)
    (tmp_path / "keras").mkdir()
    settings = {"floatx": "float16", "epsilon": 1e-7, "image_data_format": "channels_first"}
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.parametrize(
    "backend", ["tensorflow", *(pytest.param(name, marks=pytest.mark.full) for name in ("jax", "torch"))]
)
def test_everything_works_whatever_python_and_keras_are_set_to(folder, backend):
    """Without docstrings, with warnings as errors, with NumPy's errors, and with other defaults of Keras."""
    pytest.importorskip(backend)
    surroundings = {"PYTHONOPTIMIZE": "2", "KERAS_HOME": str(folder / "keras")}
    if backend != "torch":  # of whose tensors NumPy 2 warns wherever Keras reads one
        surroundings["PYTHONWARNINGS"] = "error"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder],
        capture_output=True,
        text=True,
        env={**os.environ, **surroundings, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    last = done.stdout.splitlines()[-1]
    assert json.loads(last) == {
        "optimize": 2,
        "settings": ["float16", "float16", "channels_first"],
        "same": True,
        "dtypes": ["float32"],
        "evaluated": True,
        "predicted": True,
        "codes": [0] * 5,
    }
    assert f"{folder}/b\\x1b[31mred.png: " in done.stdout and "\x1b" not in done.stdout


@pytest.mark.parametrize(
    "source, reason",
    [
        ("import sys; sys.exit(0)", "it exits"),
        ("raise SystemExit", "it exits"),
        ("raise AttributeError('one\\n\\n\\x1b[1mtwo\\x1b[0m \\x1b[31mthree')", r"one two \x1b[31mthree"),
        ("raise KeyError", "KeyError"),
        ("class Own(BaseException): pass\nraise Own('no device')", "no device"),
    ],
)
def test_a_backend_that_fails_in_its_import_is_said(zoo, tmp_path, source, reason):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(source)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = zoo("info", "nin0", env={"PYTHONPATH": path, "KERAS_BACKEND": "tensorflow"})
    message = f"cifar-zoo: Keras cannot be loaded with the backend 'tensorflow' (KERAS_BACKEND): {reason}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_a_backend_that_cannot_train_is_said(zoo, small_npz, tmp_path):
    done = zoo("fit", "nin0", "--data", small_npz, "--run-dir", tmp_path / "run", env={"KERAS_BACKEND": "numpy"})
    message = "cifar-zoo: the backend 'numpy' cannot train; set KERAS_BACKEND to tensorflow, jax or torch\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "redirection, code", [(">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0), ("| true", 0), ("> /dev/full", 2)]
)
def test_streams_may_be_closed_or_full(redirection, code):
    line = f"{sys.executable} -m cifar_zoo list 'nin*' {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == code and "Traceback" not in done.stderr


@pytest.mark.full
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_backend_loads_without_streams(folder, redirection):
    line = f"{sys.executable} -m cifar_zoo predict squeeze1 {folder}/a.png {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("%") == (3 if redirection == "2>&-" else 0)


def test_a_locale_without_the_characters_of_the_output(zoo, tmp_path):
    done = zoo("cache", env={"PYTHONIOENCODING": "latin-1", "CIFAR_ZOO_HOME": str(tmp_path / "\u0151")})
    assert done.returncode == 0 and done.stdout.endswith(f"{tmp_path}/\\u0151/weights\n")


@pytest.mark.parametrize("arguments", [["list", "a\x1b[2Jb"], ["results", "--folder", "a\x1b[2J\x07b"], ["a\x1b[2Jb"]])
def test_control_characters_are_escaped(zoo, arguments):
    done = zoo(*arguments)
    assert done.returncode == 2 and "a\\x1b[2J" in done.stderr and "\x1b" not in done.stderr


def test_control_characters_in_the_names_of_cached_files_are_escaped(zoo, tmp_path):
    (tmp_path / "weights").mkdir()
    for name in ("a\x1b[2Jb", f"a\x1b[2Jb--c@{40 * '0'}.nin"):
        (tmp_path / "weights" / f"{name}-{16 * '0'}.weights.h5").write_bytes(b"x")
    done = zoo("cache", env={"CIFAR_ZOO_HOME": str(tmp_path)})
    assert done.returncode == 0 and "\x1b" not in done.stdout
    assert f"  hf://a\\x1b[2Jb/c@{40 * '0'}\n" in done.stdout and "is not in the manifest" in done.stdout


@given(st.text())
def test_the_message_of_an_error_is_one_printable_line(text):
    message = str(CifarZooError(text))
    assert message.isprintable() and message == message.strip()
    plain = "".join(character for character in text if character.isprintable())
    assert escaped(plain) == plain and str(CifarZooError(f"x{plain}x")) == f"x{plain}x"


def test_of_the_errors_of_keras_only_the_reason_is_told():
    text = (
        "Exception encountered when calling Conv2D.call().\n\n\x1b[1mToo small.\x1b[0m\n\nArguments received by Conv2D"
    )
    assert str(CifarZooError(text + ".call():\n  • inputs")) == (
        "Exception encountered when calling Conv2D.call(). Too small."
    )


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_command_works_where_warnings_are_errors(zoo, folder, small_npz, backend):
    pytest.importorskip(backend)
    surroundings = {"PYTHONWARNINGS": "error", "KERAS_BACKEND": backend}
    arguments = ["--epochs", 1, "--examples", 200, "--data", small_npz, "--run-dir", folder / "run"]
    assert zoo("predict", "squeeze1", folder / "a.png", env=surroundings).returncode == 0
    done = zoo("fit", "nin0", *arguments, env=surroundings)
    assert done.returncode == 0, done.stderr[-2000:]
