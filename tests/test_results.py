"""Results of runs, and the table made of them."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from cifar_zoo import CifarZooError, Recipe, fit_cifar10, list_models, model_info
from cifar_zoo.results import as_text, pack, read_record, read_records, results_path, table
from cifar_zoo.weights.manifest import read_manifest

TINY = Recipe(epochs=2, batch_size=100, padding=0)


@pytest.fixture(scope="module")
def runs(cifar10, tmp_path_factory):
    """Two finished runs that differ in their seeds."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        fit_cifar10("nin0", TINY, data=cifar10, examples=300, seed=seed, run_dir=folder / str(seed), verbose=0)
        for seed in (0, 1)
    ]


def test_a_result_has_what_the_run_measured(runs, tmp_path):
    run = runs[1]
    file = pack(run.directory, tmp_path, "tiny")
    assert file == tmp_path / "nin0" / "tiny-1.json"
    result = read_record(file)
    assert (result.model, result.tag, result.seed, result.examples, result.holdout) == ("nin0", "tiny", 1, 300, 0)
    assert Recipe(**result.recipe) == TINY
    for name in ("test_accuracy", "test_loss", "minutes", "images_per_second", "params", "hardware", "commit"):
        assert getattr(result, name) == run.metrics[name], name
    assert [row["epoch"] for row in result.history] == [1, 2]
    for ours, theirs in zip(result.history, run.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert json.loads(file.read_text()) == asdict(result)
    assert pack(run.directory, tmp_path).name == "custom-1.json"  # the recipe has no name


def test_the_runs_of_a_tag_belong_together(runs, cifar10, tmp_path):
    folder = tmp_path / "results"
    for run in runs:
        pack(run.directory, folder, "tiny")
    assert len(read_records(folder)) == len(read_records(folder, "nin0")) == 2
    assert read_records(folder, "nin1") == {}
    pack(runs[0].directory, folder, "tiny")  # again
    other = fit_cifar10(
        "nin0", TINY.with_(l2=0.0), data=cifar10, examples=300, seed=2, run_dir=tmp_path / "other", verbose=0
    )
    with pytest.raises(
        CifarZooError, match="its recipe or its training images differ from those of .*tiny-0.json; choose another"
    ):
        pack(other.directory, folder, "tiny")
    assert len(read_records(folder)) == 2


def test_what_is_no_evidence_is_refused(runs, small_npz, tmp_path):
    with pytest.raises(CifarZooError, match="only a finished run can be packed"):
        pack(tmp_path, tmp_path)
    part = fit_cifar10("nin0", TINY.with_(epochs=1), data=small_npz, run_dir=tmp_path / "part", verbose=0)
    with pytest.raises(CifarZooError, match="measured on 200 test images instead of all 10,000"):
        pack(part.directory, tmp_path / "results")
    file = pack(runs[0].directory, tmp_path / "results")
    file.write_text(json.dumps({**json.loads(file.read_text()), "accuracy": 1.0}))
    with pytest.raises(CifarZooError, match="is not the record of a run: has unknown accuracy"):
        read_records(tmp_path / "results")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test_accuracy": 7.5}, r"test_accuracy must be in \[0, 1\], not 7.5"),
        ({"test_accuracy": float("nan")}, r"test_accuracy must be in \[0, 1\], not nan"),
        ({"test_accuracy": "0.9"}, "test_accuracy must be float, not '0.9'"),
        ({"test_tta_accuracy": -0.1}, r"test_tta_accuracy must be in \[0, 1\] or null, not -0.1"),
        ({"minutes": float("inf")}, "minutes must be 0 or more, not inf"),
        ({"model": "../../outside"}, "model must be letters, digits and _.+-, up to 100, not '../../outside'"),
        ({"tag": "../../outside"}, "tag must be letters"),
        ({"tag": "x" * 101}, "tag must be letters"),
        ({"tag": "two\nlines"}, "tag must be letters"),
        ({"seed": True}, "seed must be int, not True"),
        ({"epochs": 0}, "epochs must be positive, not 0"),
        ({"recipe": {"epochs": float("nan")}}, "recipe: epochs must be a valid integer, not nan"),
        ({"recipe": {"cutuot": 8}}, "a recipe has no field 'cutuot'"),
        ({"recipe": "zoo"}, "recipe must be dict, not 'zoo'"),
        ({"versions": {"keras": 3}}, "versions must be texts by package"),
        ({"history": [{"epoch": 1, "loss": float("nan")}]}, "history must be a list of finite numbers by name"),
        ({"history": {}}, "history must be a list of finite numbers by name, not {}"),
    ],
)
def test_records_that_cannot_be_are_refused(tmp_path, change, message):
    file = tmp_path / "squeeze1" / "zoo-0.json"
    file.parent.mkdir()
    file.write_text(json.dumps(json.loads((results_path() / "squeeze1" / "zoo-0.json").read_text()) | change))
    with pytest.raises(CifarZooError, match=f"^{file}: is not the record of a run: {message}") as caught:
        read_records(tmp_path)
    assert "\n" not in str(caught.value)


def test_records_with_a_missing_or_wrong_field_are_refused(tmp_path):
    values = json.loads((results_path() / "squeeze1" / "zoo-0.json").read_text())
    file = tmp_path / "zoo-0.json"
    for name, right in values.items():
        wrong = [value for value in (True, [], {}, "x", 0.5, None) if not isinstance(value, type(right))]
        if right is None:
            wrong.remove(0.5)  # an accuracy that was not measured
        for bad in [{key: values[key] for key in values.keys() - {name}}, *(values | {name: value} for value in wrong)]:
            file.write_text(json.dumps(bad))
            with pytest.raises(CifarZooError, match=f"^{file}: is not the record of a run: (lacks )?{name}") as caught:
                read_record(file)
            assert "\n" not in str(caught.value)


def test_a_record_under_the_name_of_another_is_refused(tmp_path):
    (tmp_path / "squeeze1").mkdir()
    for name in ("zoo-1.json", "other-0.json"):
        file = tmp_path / "squeeze1" / name
        file.write_bytes((results_path() / "squeeze1" / "zoo-0.json").read_bytes())
        with pytest.raises(CifarZooError, match=f"{name}: is the record of squeeze1, zoo, seed 0"):
            read_records(tmp_path)
        file.unlink()


@pytest.mark.parametrize("tag", ["../../outside", "..", ".", "", "a/b", "a\\b", "a\0b", ".hidden", "x" * 5000, "a b"])
def test_a_tag_that_is_no_name_writes_nothing(runs, tmp_path, tag):
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(CifarZooError, match="tag must be letters, digits and _.+-, up to 100, not ") as caught:
        pack(runs[0].directory, tmp_path / "in" / "results", tag)
    assert len(str(caught.value)) < 400 and sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("config.json", {"model": "../../outside"}, "model must be letters, digits and _.+-, up to 100, not "),
        ("config.json", {"model": ["nin0"]}, "model must be str"),
        ("config.json", {"seed": "../../1"}, "seed must be int"),
        ("config.json", {"recipe_name": 3}, "tag must be str"),
        ("config.json", {"recipe": {"epochs": 3}}, "are of different numbers of epochs"),
        ("config.json", {"recipe": []}, "recipe must be dict"),
        ("metrics.json", {"epochs": 3}, "are of different numbers of epochs"),
        ("metrics.json", {"test_accuracy": 7.5}, r"test_accuracy must be in \[0, 1\], not 7.5"),
    ],
)
def test_a_run_directory_with_wrong_values_is_refused(runs, tmp_path, file, change, message):
    """Also where no hash tells, as in runs of earlier versions."""
    shutil.copytree(runs[0].directory, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    del metrics["files"]
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    values = json.loads((tmp_path / "run" / file).read_text()) | change
    (tmp_path / "run" / file).write_text(json.dumps(values))
    with pytest.raises(CifarZooError, match=message):
        pack(tmp_path / "run", tmp_path / "results")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["config.json", "history.csv", "model.weights.h5"])
def test_a_file_of_another_run_is_refused(runs, tmp_path, name):
    shutil.copytree(runs[0].directory, tmp_path / "run")
    shutil.copyfile(runs[1].directory / name, tmp_path / "run" / name)
    with pytest.raises(CifarZooError, match=f"{name} is not the one that the run ended with"):
        pack(tmp_path / "run", tmp_path / "results")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_table_has_means_and_deviations(runs, tmp_path):
    result = read_record(pack(runs[0].directory, tmp_path, "zoo"))
    accuracies = [0.861, 0.872, 0.8655]
    seeds = [
        replace(result, model="squeeze1", seed=i, examples=50_000, test_accuracy=accuracy, minutes=10.0 + i)
        for i, accuracy in enumerate(accuracies)
    ]
    other = replace(seeds[0], tag="fast", epochs=9)
    on_a_part = replace(result, model="squeeze1", tag="part")
    lines = table([*seeds, other, on_a_part], ["squeeze1", "se_wide_resnet28_10", "resnet20"])
    assert [(line.network, line.row, line.published, line.tag, line.runs) for line in lines] == [
        ("squeeze1", "SqueezeNet (squeeze1)", 87.8, "fast", 1),
        ("squeeze1", "SqueezeNet (squeeze1)", 87.8, "zoo", 3),
        ("se_wide_resnet28_10", "SE-WideResNet", 96.6, None, 0),
        ("se_wide_resnet28_10", "SE-WideResNet_2", 97.05, None, 0),
        ("resnet20", None, None, None, 0),
    ]
    assert lines[1].accuracy == pytest.approx(100 * np.mean(accuracies))
    assert lines[1].deviation == pytest.approx(100 * np.std(accuracies, ddof=1))
    assert lines[1].minutes == 11 and lines[0].deviation is None
    assert lines[1].ours == "86.62 ± 0.55 (-1.18)" and lines[0].ours == "86.10 (-1.70)" and lines[2].ours == ""
    assert "epochs 2 (768)" in lines[1].differences and "momentum 0.9 (0.0)" in lines[1].differences
    assert "learning_rate" not in lines[1].differences  # it is the published one
    text = as_text(lines).splitlines()
    assert len(text) == 6 and "86.62 ± 0.55 (-1.18)" in text[2]
    assert replace(lines[0], accuracy=88.0).ours == replace(lines[0], accuracy=88.0, published=None).ours == "88.00"


def test_every_published_row_has_a_line():
    lines = table([])
    rows = {(row.table, row.name) for name in list_models() for row in model_info(name).rows}
    assert rows <= {(line.table, line.row) for line in lines}
    assert {line.network for line in lines} == set(list_models())


def test_the_results_of_the_package_are_those_of_its_weights():
    results = read_records(results_path())
    for file, result in results.items():
        assert file == results_path() / result.model / f"{result.tag}-{result.seed}.json"
        assert len(result.history) == result.epochs == result.recipe["epochs"]
        assert result.params == model_info(result.model).params
        assert result.holdout == 0 and result.examples <= 50_000
    for model, tags in read_manifest().items():
        for tag, entry in tags.items():
            result = results[results_path() / model / f"{tag}-{entry.seed}.json"]
            for name in ("recipe", "seed", "epochs", "precision", "test_accuracy", "command", "hardware", "versions",
                         "commit"):  # fmt: skip
                assert getattr(entry, name) == getattr(result, name), (model, tag, name)
