"""The command line, each command in a process of its own."""

import json

import numpy as np
import pytest
from PIL import Image

import cifar_zoo
from cifar_zoo.cli.output import print_json
from cifar_zoo.weights.manifest import read_manifest


def test_list(zoo):
    rows = json.loads(zoo("list", "--json").stdout)
    assert [row["name"] for row in rows] == cifar_zoo.list_models()
    assert {row["name"]: row["params"] for row in rows}["resnet18"] == 11_185_034
    lines = zoo("list", "alex[0-9]").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [f"alex{i}" for i in range(5)]
    assert [line.split()[0] for line in zoo("list", "--pretrained").stdout.splitlines()] == cifar_zoo.list_models(
        pretrained=True
    )


def test_info(zoo):
    info = json.loads(zoo("info", "squeeze1", "--json").stdout)
    assert (info["params"], info["family"], info["input_shape"]) == (146_570, "sandbox", [24, 24, 3])
    assert info["weights"]["zoo"]["test_accuracy"] >= 0.86
    text = zoo("info", "resnet18").stdout
    assert "11,185,034" in text and "trained with: cifar-zoo fit resnet18" in text
    untrained = next(name for name in cifar_zoo.list_models() if name not in read_manifest())
    assert "none published" in zoo("info", untrained).stdout


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


def test_evaluate_with_test_time_augmentation(zoo, small_npz):
    plain = zoo("evaluate", "squeeze1", "--data", small_npz).stdout.splitlines()
    *first, second = zoo("evaluate", "squeeze1", "--data", small_npz, "--tta").stdout.splitlines()
    figures = json.loads(zoo("evaluate", "squeeze1", "--data", small_npz, "--tta", "--json").stdout)
    assert first == plain and f"({figures['correct']} right" in plain[0] and f"{figures['loss']:.4f}" in plain[1]
    assert second.startswith("with test-time augmentation (flip and shift, six views): ")
    assert f"{figures['tta_accuracy']:.2%} ({figures['tta_correct']} right)" in second
    assert second.endswith(f"loss {figures['tta_loss']:.4f}") and figures["tta_loss"] != figures["loss"]


def test_json_has_null_for_what_is_no_finite_number(capsys):
    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    print_json({"loss": float("nan"), "rows": [(1, float("-inf")), "nan"], "accuracy": 0.5, "finished": True})
    found = json.loads(capsys.readouterr().out, parse_constant=no_constant)
    assert found == {"loss": None, "rows": [[1, None], "nan"], "accuracy": 0.5, "finished": True}


@pytest.mark.full
def test_several_seeds_with_a_changed_recipe(zoo, small_npz, tmp_path):
    run = tmp_path / "run"
    arguments = [
        "fit",
        "nin0",
        "--epochs",
        1,
        "--examples",
        200,
        "--data",
        small_npz,
        "--run-dir",
        run,
        "--set",
        "l2=0",
    ]
    done = zoo(*arguments, "--set", "learning_rate=0.02", "--seeds", "0,3", "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["run_dir"] for line in found] == [f"{run}-0", f"{run}-3"]
    for seed in (0, 3):
        config = json.loads((tmp_path / f"run-{seed}" / "config.json").read_text())
        assert (config["seed"], config["recipe"]["l2"], config["recipe"]["learning_rate"]) == (seed, 0, 0.02)
    text = zoo(*arguments, "--set", "learning_rate=0.02", "--seeds", "0,3").stdout.splitlines()
    accuracies = [100 * line["test_accuracy"] for line in found]
    assert text[-1] == (
        f"test accuracy of 2 seeds: {np.mean(accuracies):.2f}%, deviation {np.std(accuracies, ddof=1):.2f}%"
    )


def test_recipes(zoo):
    recipes = json.loads(zoo("recipes", "nin", "--json").stdout)
    assert recipes["paper"]["decay_epochs"] == [35, 50, 75] and recipes["zoo"]["schedule"] == "cosine"
    lines = zoo("recipes", "nin").stdout.splitlines()
    assert lines[0].split() == ["zoo", "paper"] and "decay_epochs" in [line.split()[0] for line in lines[1:]]
    assert [line.split()[0] for line in zoo("recipes").stdout.splitlines()] == cifar_zoo.list_models()


def test_results(zoo):
    lines = zoo("results", "s*").stdout.splitlines()
    assert {line.split()[0] for line in lines[1:]} == set(cifar_zoo.list_models("s*"))
    (row,) = json.loads(zoo("results", "squeeze1", "--json").stdout)
    assert row["published"] == 87.8 and row["accuracy"] > 87.8 and row["runs"] >= 1


def test_pack(zoo, tmp_path):
    """From the evidence beside the published weights, which is what a run directory holds."""
    import shutil

    from cifar_zoo.weights.manifest import manifest_path

    staged = manifest_path().parent / "weights" / "squeeze1" / "zoo"
    run = shutil.copytree(staged, tmp_path / "run")
    (run / "squeeze1.zoo.weights.h5").rename(run / "model.weights.h5")
    (tmp_path / "weights_manifest.json").write_text("{}")
    done = zoo("pack", run, "--tag", "again", "--into", tmp_path, "--weights")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        str(tmp_path / place) for place in ("results/squeeze1/again-0.json", "weights/squeeze1/again")
    ]
    entry = json.loads((tmp_path / "weights_manifest.json").read_text())["squeeze1"]["again"]
    result = json.loads((tmp_path / "results" / "squeeze1" / "again-0.json").read_text())
    assert entry["best"] and entry["test_accuracy"] == result["test_accuracy"]
    lines = zoo("results", "squeeze1", "--folder", tmp_path / "results").stdout.splitlines()
    assert lines[1].split()[-1] == "again"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["info", "resnet21"], "there is no network 'resnet21'; did you mean"),
        (["predict", "resnet21", "x.png"], "there is no network 'resnet21'"),
        (["predict", "squeeze1", "no such.png"], "there is no file or folder 'no such.png'"),
        (["predict", "squeeze1"], "Missing argument 'IMAGES...'"),
        (["predict", "squeeze1", "README.md"], "'README.md' cannot be read as an image"),
        (["predict", "alex2", "x.png"], "there is no file"),
        (["evaluate", "senet154"], "senet154 has no published weights"),
        (["evaluate", "squeeze1", "--weights", "imagenet"], "no weights 'imagenet'; there are"),
        (["evaluate", "squeeze1", "--data", "nowhere.npz"], "there is no file or folder 'nowhere.npz'"),
        (["evaluate", "squeeze1", "--unknown", "nowhere"], "there is no file or folder 'nowhere'"),
        (["fit", "nin0", "--epochs", "0", "--data", "nowhere.npz"], "epochs must be greater than 0, not 0"),
        (["fit", "nin0", "--batch-size", "-1"], "batch_size must be greater than 0, not -1"),
        (["fit", "nin0", "--data", "nowhere.npz"], "there is no file or folder 'nowhere.npz'"),
        (["finetune", "squeeze1", "nowhere"], "there is no file or folder 'nowhere'"),
        (["finetune", "squeeze1", "tests", "--max-minutes", "0"], "max_minutes must be positive, not 0.0"),
        (["fit", "nin0", "--epochs", "many"], "'many' is not a valid integer"),
        (["fit", "nin0", "--recipe", "best"], "no recipe 'best'"),
        (["fit", "nin0", "--recipe", "paper2"], "no recipe 'paper2' for nin0; there are zoo, paper"),
        (["fit", "nin0", "--set", "learning_rat=1"], "no field 'learning_rat'; did you mean 'learning_rate'?"),
        (["fit", "nin0", "--set", "epochs=many"], "epochs must be a valid integer, not 'many'"),
        (["fit", "nin0", "--seeds", "0,x"], "seeds must be integers with commas between them, not '0,x'"),
        (["fit", "nin0", "--seeds", "1,1"], "seeds must differ, not '1,1'"),
        (["recipes", "resnet21"], "there is no network 'resnet21'"),
        (["pack", "nowhere"], "nowhere: no metrics.json; only a finished run can be packed"),
        (["list", "resnet2l*"], "no network matches 'resnet2l*'; `cifar-zoo list` shows all networks"),
        (["list", "senet*", "--pretrained"], "no network with pretrained weights matches 'senet*'"),
        (["results", "resnet2l*"], "no network matches 'resnet2l*'"),
        (["results", "--folder", "nowhere"], "nowhere is not a folder"),
        (["download", "--all", "--tag", "zooo"], "no weights have the tag 'zooo'; there are cifar10, "),
        (["nonsense"], "No such command 'nonsense'"),
        (["list", "--nonsense"], "No such option"),
    ],
)
def test_bad_input_ends_in_one_line(zoo, arguments, message):
    """Except for the content of an image, before the seconds that it takes to load a backend."""
    done = zoo(*arguments, env={} if "README.md" in arguments else {"KERAS_BACKEND": "none of them"})
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

    # The signal may be ignored where the tests run in the background; so it is here, unless Python is told.
    heed = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    run = "runpy.run_module('cifar_zoo', run_name='__main__')"
    command = [sys.executable, "-c", heed + run, "fit", "nin0", "--epochs", "500"]
    command += ["--data", small_npz, "--run-dir", tmp_path]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    assert np.load(tmp_path / "checkpoint.npz")["state"].size  # whole
