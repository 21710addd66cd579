"""Whatever a crash or a mix-up did to the files of a finished run is found."""

import itertools
import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.files import read_history, write_json
from cifar_zoo.training.finished import FILES, Metrics, check_files, read_metrics

RECIPE = Recipe(epochs=1, batch_size=100, padding=0)


def fit(small_npz, directory, **options):
    return fit_cifar10("nin0", RECIPE, data=small_npz, examples=100, run_dir=directory, verbose=0, **options)


@pytest.fixture(scope="module")
def runs(small_npz, tmp_path_factory):
    """Two run directories that differ in their seeds."""
    folder = tmp_path_factory.mktemp("runs")
    return [fit(small_npz, folder / str(seed), seed=seed).directory for seed in (0, 1)]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a bit flipped": lambda file, other: flip(file),
    "cut": lambda file, other: file.write_bytes(file.read_bytes()[:-1]),
    "empty": lambda file, other: file.write_bytes(b""),
    "of another seed": lambda file, other: shutil.copyfile(other / file.name, file),
    "missing": lambda file, other: file.unlink(),
    "a folder": lambda file, other: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_foreign_file_is_found(runs, tmp_path, name, damage):
    shutil.copytree(runs[0], tmp_path / "run")
    check_files(tmp_path / "run", read_metrics(tmp_path / "run"))
    DAMAGES[damage](tmp_path / "run" / name, runs[1])
    with pytest.raises(CifarZooError, match=f"{name} .*; restore it, or remove metrics.json and run the same command"):
        check_files(tmp_path / "run", read_metrics(tmp_path / "run"))


@pytest.mark.parametrize("damage", ["a bit flipped", "of another seed"])
def test_a_finished_run_is_not_given_back_with_other_weights_and_can_be_finished_again(
    runs, small_npz, tmp_path, damage
):
    shutil.copytree(runs[0], tmp_path / "run")
    whole = (tmp_path / "run" / "model.weights.h5").read_bytes()
    DAMAGES[damage](tmp_path / "run" / "model.weights.h5", runs[1])
    with pytest.raises(CifarZooError, match="model.weights.h5 is not the one that the run ended with"):
        fit(small_npz, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()  # as the message says
    assert fit(small_npz, tmp_path / "run").finished
    assert (tmp_path / "run" / "model.weights.h5").read_bytes() == whole


def test_metrics_of_earlier_versions_have_no_hashes(runs, small_npz, tmp_path):
    shutil.copytree(runs[0], tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    del metrics["files"]
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    assert read_metrics(tmp_path / "run") == metrics == fit(small_npz, tmp_path / "run").metrics


ANYTHING = [None, True, -1, 0, 3, 10**30, 0.5, float("nan"), float("inf"), "", "x", [], [0.5], {}, {"a": 1}]


def test_metrics_with_a_missing_or_wrong_field_are_refused_in_one_line(runs, tmp_path):
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    known = metrics.keys() & Metrics.model_fields.keys()
    wrong = [(name, {key: metrics[key] for key in metrics.keys() - {name}}) for name in known - {"files"}]
    for name, value in itertools.product(known, ANYTHING):
        if is_wrong(metrics[name], value):
            wrong.append((name, metrics | {name: value}))
    assert len(wrong) > 100
    for name, values in wrong:
        (tmp_path / "metrics.json").write_text(json.dumps(values))
        with pytest.raises(CifarZooError, match=f"^{tmp_path}/metrics.json: ") as caught:
            read_metrics(tmp_path)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def is_wrong(right, value):
    """Whether a value cannot take the place of another in JSON, by its type or as it is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return True
    numbers = (int,) if isinstance(right, int) else (int, float)
    kinds = numbers if isinstance(right, int | float) else (type(right),)
    return isinstance(value, bool) or not isinstance(value, kinds)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test_accuracy": 7.5}, r"test_accuracy must be in \[0, 1\], not 7.5"),
        ({"test_accuracy": 0.75}, "test_accuracy must be test_correct / test_images, not 0.75"),
        ({"test_accuracy": None}, r"test_accuracy must be in \[0, 1\], not None"),
        ({"test_loss": float("nan")}, "test_loss must be a finite number, not nan"),
        ({"anything": {"deep": [float("inf")]}}, "anything must be a finite number, not "),
        ({"versions": {"keras": 3}}, "versions must be texts by package"),
        ({"files": {}}, "files must have config.json, history.csv, model.weights.h5, not none"),
        ({"files": {"../../x": "0" * 64}}, "files must have .*, not ../../x"),
        ({"files": {"config.json": "0"}}, "files must be hashes of 64 hex digits by file"),
    ],
)
def test_metrics_that_cannot_be_are_refused(runs, tmp_path, change, message):
    metrics = json.loads((runs[0] / "metrics.json").read_text()) | change
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(CifarZooError, match=f"^{tmp_path}/metrics.json: {message}"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_that_are_not_finite_are_not_written(tmp_path, value):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(CifarZooError, match="a.json: cannot be written, as it would hold a number that is not finite"):
        write_json(tmp_path / "a.json", {"a": [1, {"b": value}]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


@settings(deadline=None)  # files are written
@given(st.binary(max_size=60) | st.text("epoch,1.\n\r\"'nNaA\0", max_size=60).map(str.encode))
def test_any_history_is_a_table_of_numbers_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("history") / "history.csv"
    file.write_bytes(b"epoch,loss\r\n1,2.5\r\n" + content)
    try:
        rows = read_history(file)
    except CifarZooError as error:
        assert str(error).startswith(f"{file}: ")
        return
    assert rows[0] == {"epoch": 1, "loss": 2.5}
    assert all(row.keys() == {"epoch", "loss"} and isinstance(row["epoch"], int) for row in rows)


@pytest.mark.parametrize(
    "content", [b"loss\n1\n", b"epoch,loss\n1\n", b"epoch,loss\n1,2,3\n", b"epoch\nnan\n", b"\xff\n1"]
)
def test_damaged_histories_are_refused(tmp_path, content):
    (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(CifarZooError, match=r"history.csv: (has no column 'epoch'|cannot be read as a table)"):
        read_history(tmp_path / "history.csv")
