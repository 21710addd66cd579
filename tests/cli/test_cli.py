"""The command line, as processes."""

import json

import numpy as np
import pytest
from PIL import Image

import cifar_zoo


def test_list(zoo):
    rows = json.loads(zoo("list", "--json").stdout)
    assert [row["name"] for row in rows] == cifar_zoo.list_models()
    assert {row["name"]: row["params"] for row in rows}["resnet18"] == 11_185_034
    lines = zoo("list", "alex[0-9]").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [f"alex{i}" for i in range(5)]
    assert [line.split()[0] for line in zoo("list", "--weights").stdout.splitlines()] == cifar_zoo.list_models(
        weights=True
    )


def test_info(zoo):
    info = json.loads(zoo("info", "squeeze1", "--json").stdout)
    assert (info["params"], info["family"], info["input_shape"]) == (146_570, "sandbox", [24, 24, 3])
    assert info["weights"]["zoo"]["test_accuracy"] >= 0.86
    text = zoo("info", "resnet18").stdout
    assert "11,185,034" in text and "none published" in text


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Free photographs that scikit-image ships: a cat, an astronaut, a rocket; and one file with an alpha channel."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("photographs")
    for name, suffix in {"cat": "png", "astronaut": "jpg", "coffee": "webp"}.items():
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.{suffix}")
    Image.fromarray(data.cat()).convert("LA").save(folder / "alpha.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", ["squeeze1", "resnet20"])
def test_predict(zoo, photographs, name):
    done = zoo("predict", name, *photographs, "--json")
    assert done.returncode == 0 and done.stderr == ""
    results = json.loads(done.stdout)
    assert [result["path"] for result in results] == [str(path) for path in photographs]
    for result in results:
        values = [guess["probability"] for guess in result["classes"]]
        assert len(values) == 3 and values == sorted(values, reverse=True) and 0 < sum(values) <= 1 + 1e-5
    cat = next(result for result in results if result["path"].endswith("cat.png"))
    assert cat["classes"][0]["class"] == "cat"


def test_predict_in_words(zoo, photographs):
    lines = zoo("predict", "squeeze1", photographs[0], "--top", 2).stdout.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"{photographs[0]}: ") and lines[0].count("%") == 2


def test_fit_and_evaluate(zoo, small_npz, tmp_path):
    run = tmp_path / "run"
    done = zoo("fit", "nin0", "--epochs", 1, "--examples", 200, "--run-dir", run, "--data", small_npz, "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert (
        metrics["finished"] and metrics["run_dir"] == str(run) and metrics["command"].startswith("cifar-zoo fit nin0")
    )
    done = zoo("evaluate", "nin0", "--weights", run / "model.weights.h5", "--data", small_npz, "--json")
    assert json.loads(done.stdout)["correct"] == metrics["test_correct"]
    assert done.stderr == ""
    text = zoo("fit", "nin0", "--epochs", 1, "--examples", 200, "--run-dir", run, "--data", small_npz).stdout
    assert "test accuracy" in text and str(run) in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["info", "resnet21"], "there is no network 'resnet21'; did you mean"),
        (["predict", "resnet21", "x.png"], "there is no network 'resnet21'"),
        (["predict", "squeeze1", "no such.png"], "there is no picture 'no such.png'"),
        (["predict", "squeeze1"], "Missing argument 'PICTURES...'"),
        (["predict", "squeeze1", "README.md"], "'README.md' cannot be read as a picture"),
        (["predict", "alex2", "x.png"], "there is no picture"),
        (["evaluate", "alex2"], "alex2 has no published weights"),
        (["evaluate", "squeeze1", "--weights", "imagenet"], "no weights 'imagenet'; there are"),
        (["evaluate", "squeeze1", "--data", "nowhere.npz"], "nowhere.npz: there is no such file or folder"),
        (["fit", "nin0", "--epochs", "0", "--data", "nowhere.npz"], "epochs must be positive, not 0"),
        (["fit", "nin0", "--epochs", "many"], "'many' is not a valid integer"),
        (["fit", "nin0", "--recipe", "best"], "no recipe 'best'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["list", "--nonsense"], "No such option"),
    ],
)
def test_bad_input_ends_in_one_line(zoo, arguments, message):
    done = zoo(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("cifar-zoo: ") and message in lines[0], done.stderr


def test_a_backend_that_is_not_there_is_said(zoo):
    done = zoo("evaluate", "squeeze1", env={"KERAS_BACKEND": "theano"})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "cannot be loaded with the backend 'theano'" in done.stderr


def test_a_directory_that_cannot_be_written_is_said(zoo, small_npz, tmp_path):
    (tmp_path / "file").write_text("")
    done = zoo("fit", "nin0", "--epochs", 1, "--data", small_npz, "--run-dir", tmp_path / "file" / "run")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr


def test_the_keyboard_stops_it(small_npz, tmp_path):
    import signal
    import subprocess
    import sys
    import time

    command = [
        sys.executable,
        "-m",
        "cifar_zoo",
        "fit",
        "nin0",
        "--epochs",
        "500",
        "--data",
        small_npz,
        "--run-dir",
        tmp_path,
    ]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    assert np.load(tmp_path / "checkpoint.npz")["state"].size  # whole
