"""Packing a run as a weights file to publish."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

import cifar_zoo
from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.publishing.card import card
from cifar_zoo.publishing.publish import staged
from cifar_zoo.publishing.stage import check_recipe, stage
from cifar_zoo.results import pack, read_records
from cifar_zoo.weights.manifest import parse_manifest, read_manifest, write_manifest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Recipe(epochs=1, batch_size=100, padding=0)
WEIGHTS = "model.weights.h5"


@pytest.fixture(scope="module")
def runs(cifar10, tmp_path_factory):
    """Finished runs: two seeds of one recipe, and the first seed with another recipe."""
    folder = tmp_path_factory.mktemp("runs")

    def fit(name, recipe, seed):
        return fit_cifar10("nin0", recipe, data=cifar10, examples=100, seed=seed, run_dir=folder / name, verbose=0)

    return {
        "first": fit("first", RECIPE, 0),
        "seed": fit("seed", RECIPE, 1),
        "recipe": fit("recipe", RECIPE.for_epochs(2), 0),
    }


@pytest.fixture
def checkout(tmp_path):
    """A folder as `cifar-zoo pack --into` takes it."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "weights_manifest.json").write_text("{}")
    return tmp_path / "checkout"


def stage_into(checkout, run, tag="tag", **options):
    return stage(
        run.directory,
        checkout / "weights",
        checkout / "weights_manifest.json",
        tag,
        results_dir=checkout / "results",
        **options,
    )


def tree(folder):
    """All files but those that a killed process may leave until the next one: its locks and half a journal."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".lock", ".tmp"})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def accuracy_of_whole(checkout):
    """The accuracy and the epochs of the one staged run, all of whose files must agree with the manifest."""
    manifest = parse_manifest(checkout / "weights_manifest.json")
    staged(checkout / "weights", manifest)
    ((file, record),) = read_records(checkout / "results").items()
    entry = manifest["nin0"]["tag"]
    assert file.name == "tag-0.json" and (record.test_accuracy, record.recipe) == (entry.test_accuracy, entry.recipe)
    assert len(tree(checkout)) == 8, sorted(tree(checkout))
    return entry.test_accuracy, entry.epochs


def test_stage(runs, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    recipe, run = RECIPE, runs["first"]
    entry = stage(run.directory, tmp_path / "weights", manifest, "first")
    assert entry.best  # the only one
    second = stage(run.directory, tmp_path / "weights", manifest, "second")
    assert parse_manifest(manifest)["nin0"] == {"first": entry, "second": second} and not second.best
    second = stage(run.directory, tmp_path / "weights", manifest, "second", best=True)
    tags = parse_manifest(manifest)["nin0"]
    assert tags["second"] == second and second.best and not tags["first"].best
    assert entry.recipe == recipe.to_dict() and entry.test_accuracy == run.metrics["test_accuracy"]
    folder = tmp_path / "weights" / "nin0" / "first"
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "golden.npz", "history.csv", "metrics.json", "nin0.first.weights.h5",
    }  # fmt: skip
    with np.load(folder / "golden.npz") as golden:
        model = cifar_zoo.create_model("nin0", weights=str(folder / "nin0.first.weights.h5"))
        scores = np.asarray(golden["logits"], "float64")
        expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            np.asarray(model.predict(golden["images"], verbose=0)), expected, rtol=1e-3, atol=1e-5
        )


def test_a_part_of_the_test_images_is_not_enough(small_npz, tmp_path):
    recipe = Recipe(epochs=1, batch_size=100, padding=0)
    run = fit_cifar10("nin0", recipe, data=small_npz, run_dir=tmp_path / "run", verbose=0)
    with pytest.raises(CifarZooError, match="measured on 200 test images instead of all 10,000"):
        stage(run.directory, tmp_path / "weights", tmp_path / "manifest.json", "tag")


def test_a_run_without_test_figures_is_refused(zoo, small_npz, tmp_path):
    """As one is that held images out; nothing is written."""
    recipe = Recipe(epochs=1, batch_size=100, padding=0)
    run = fit_cifar10("nin0", recipe, data=small_npz, run_dir=tmp_path / "run", verbose=0)
    metrics = {name: value for name, value in run.metrics.items() if not name.startswith("test_")}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    message = "run: has no test accuracy, as images were held out of its training; train with all images"
    with pytest.raises(CifarZooError, match=message):
        stage(run.directory, tmp_path / "weights", tmp_path / "manifest.json", "tag")
    done = zoo("pack", tmp_path / "run", "--into", tmp_path, "--weights")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and message in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"epocs": 3}, "recipe does not fit this version .*epocs"),
        ({"epochs": -3}, "recipe does not fit this version .*epochs must be greater than 0"),
        ({"schedule": []}, "recipe does not fit this version .*schedule"),
    ],
)
def test_a_recipe_of_another_version_is_refused(fields, message):
    entry = read_manifest()["squeeze1"]["zoo"]
    check_recipe(entry.recipe, "squeeze1.zoo")
    with pytest.raises(CifarZooError, match=f"squeeze1.zoo: {message}"):
        check_recipe(entry.recipe | fields, "squeeze1.zoo")


def test_a_network_must_have_a_best_tag(runs, checkout):
    with pytest.raises(CifarZooError, match="nin0 must have exactly one tag that is best"):
        stage_into(checkout, runs["first"], best=False)
    assert tree(checkout) == {"weights_manifest.json": b"{}"}


@pytest.mark.parametrize("tag", ["../../outside", "..", "", "a/b", "a\0b", ".hidden", "x" * 5000, "cifar10", "a.h5"])
def test_a_tag_that_is_no_name_writes_nothing(runs, checkout, tag):
    before = sorted(checkout.parent.rglob("*"))
    with pytest.raises(CifarZooError, match="tag must (be letters, digits and _.+-, up to 100, not |not be ')"):
        stage_into(checkout, runs["first"], tag)
    assert sorted(checkout.parent.rglob("*")) == before


def test_the_command_line_refuses_it_too(zoo, runs, checkout):
    before = sorted(checkout.parent.rglob("*"))
    for more in ([], ["--weights"]):
        done = zoo("pack", runs["first"].directory, "--into", checkout, "--tag", "../../outside", *more)
        assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
        assert "tag must be letters, digits and _.+-, up to 100, not '../../outside'" in done.stderr
    assert sorted(checkout.parent.rglob("*")) == before


def test_a_run_of_a_network_outside_writes_nothing(runs, checkout, tmp_path):
    shutil.copytree(runs["first"].directory, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"model": "../../outside"}))
    metrics = {name: value for name, value in runs["first"].metrics.items() if name != "files"}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(CifarZooError, match="model must be letters, digits .* not '../../outside'"):
        stage(tmp_path / "run", checkout / "weights", checkout / "weights_manifest.json", "tag")
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("damage", ["flipped", "other seed"])
def test_damaged_or_foreign_weights_are_not_staged_with_the_figures_of_the_run(runs, checkout, tmp_path, damage):
    shutil.copytree(runs["first"].directory, tmp_path / "run")
    content = bytearray((runs["seed" if damage == "other seed" else "first"].directory / WEIGHTS).read_bytes())
    content[-1] ^= damage == "flipped"
    (tmp_path / "run" / WEIGHTS).write_bytes(content)
    with pytest.raises(CifarZooError, match=f"{WEIGHTS} is not the one that the run ended with"):
        stage(tmp_path / "run", checkout / "weights", checkout / "weights_manifest.json", "tag")
    assert tree(checkout) == {"weights_manifest.json": b"{}"}


def test_a_run_of_an_earlier_version_is_staged_with_a_warning(runs, checkout, tmp_path, caplog):
    shutil.copytree(runs["first"].directory, tmp_path / "run")
    metrics = {name: value for name, value in runs["first"].metrics.items() if name != "files"}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    stage(tmp_path / "run", checkout / "weights", checkout / "weights_manifest.json", "tag")
    assert "has no hashes: whether its weights are those that were measured cannot be verified" in caplog.text


def test_another_seed_does_not_take_the_place_of_the_first(runs, checkout):
    stage_into(checkout, runs["first"])
    before = tree(checkout)
    with pytest.raises(CifarZooError, match="nin0.tag is of seed 0, not 1; choose another tag, or remove that entry"):
        stage_into(checkout, runs["seed"])
    assert tree(checkout) == before
    first = accuracy_of_whole(checkout)
    assert stage_into(checkout, runs["recipe"]).epochs == 2  # the same seed, trained again
    assert accuracy_of_whole(checkout) != first


def test_the_figure_of_staged_weights_is_not_replaced_alone(runs, checkout):
    stage_into(checkout, runs["first"])
    before = tree(checkout)
    options = {"manifest_file": checkout / "weights_manifest.json"}
    with pytest.raises(CifarZooError, match="nin0.tag has the weights of another run of seed 0; choose another tag"):
        pack(runs["recipe"].directory, checkout / "results", "tag", **options)
    pack(runs["first"].directory, checkout / "results", "tag", **options)  # the same run again
    assert tree(checkout) == before
    pack(runs["seed"].directory, checkout / "results", "tag", **options)
    assert len(read_records(checkout / "results")) == 2


PACK = """
import os, signal, sys
from cifar_zoo.cli import main
checkout, moment = sys.argv[-3:-1]
sys.argv[1:] = ["pack", sys.argv[1], "--into", checkout, "--tag", "tag", "--weights"]
count = 0
def watch(event, arguments):
    global count
    if event in {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "glob.glob"}:
        if checkout in str(arguments[0]):
            if count == int(moment):
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
sys.addaudithook(watch)
try:
    main()
finally:
    print(count)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_killed_at_any_moment_it_leaves_the_old_or_the_new(runs, checkout, tmp_path, request):
    """At every file operation with --full, otherwise at two of them."""
    new = tmp_path / "new"
    shutil.copytree(checkout, new)
    stage_into(checkout, runs["first"])
    old = accuracy_of_whole(checkout)

    def pack_until(into, moment):
        command = [sys.executable, "-c", PACK, runs["recipe"].directory, into, str(moment), "end"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = pack_until(new, 10**9)
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.splitlines()[-1])
    found = []
    for moment in range(count + 20) if request.config.option.full else (count // 3, count - 3):
        folder = tmp_path / str(moment)
        shutil.copytree(checkout, folder)
        killed = pack_until(folder, moment)
        found.append(accuracy_of_whole(folder))
        assert found[-1] in (old, accuracy_of_whole(new))
        if killed.returncode == 0:
            break
        assert killed.returncode == -9, killed.stderr
        assert stage_into(folder, runs["recipe"]).epochs == 2  # the same command again
        assert accuracy_of_whole(folder) == accuracy_of_whole(new)
    assert found[0] == old != found[-1] == accuracy_of_whole(new)


@pytest.mark.full
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
@pytest.mark.parametrize("more", [(), ("--weights",)], ids=["results", "weights"])
def test_killed_at_random_moments_it_leaves_the_old_or_the_new(runs, checkout, tmp_path, more):
    """By another process, anywhere from the start of Python to the end."""

    def command(run, into):
        return [sys.executable, "-m", "cifar_zoo", "pack", runs[run].directory, "--into", into, "--tag", "tag", *more]

    subprocess.run(command("first", checkout), cwd=ROOT, check=True)
    shutil.copytree(checkout, tmp_path / "twice")
    started = time.monotonic()
    subprocess.run(command("recipe", tmp_path / "twice"), cwd=ROOT, check=True)
    duration = time.monotonic() - started
    old, new = tree(checkout), tree(tmp_path / "twice")
    assert old.keys() == new.keys() and old != new
    found = []
    for number, moment in enumerate(np.sort(np.random.default_rng(0).uniform(0.3 * duration, 1.1 * duration, 20))):
        folder = tmp_path / str(number)
        shutil.copytree(checkout, folder)
        with contextlib.suppress(subprocess.TimeoutExpired):  # after which it is killed
            subprocess.run(command("recipe", folder), cwd=ROOT, capture_output=True, timeout=moment)
        if more:
            accuracy_of_whole(folder)  # which completes or undoes what was begun, as every reader does
        found.append(tree(folder))
        assert found[-1] in (old, new)
        subprocess.run(command("recipe", folder), cwd=ROOT, check=True)
        assert tree(folder) == new
    assert found[0] == old and found[-1] == new


@pytest.mark.full
def test_two_commands_at_once_lose_no_entry(runs, checkout):
    command = [sys.executable, "-m", "cifar_zoo", "pack", runs["first"].directory, "--into", checkout, "--weights"]
    started = [subprocess.Popen([*command, "--tag", f"tag{number}"], cwd=ROOT) for number in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    manifest = parse_manifest(checkout / "weights_manifest.json")
    assert (
        manifest["nin0"].keys() == {f"tag{number}" for number in range(4)}
        and len(read_records(checkout / "results")) == 4
    )
    staged(checkout / "weights", manifest)


ADD = """
import sys
from pathlib import Path
from cifar_zoo.weights.manifest import changing, parse_manifest, write_manifest
path = Path(sys.argv[1])
for number in range(5):
    with changing(path):
        manifest = parse_manifest(path)
        ((tag, entry),) = list(manifest["squeeze1"].items())[:1]
        name = f"{sys.argv[2]}-{number}"
        places = {"file": f"squeeze1/{name}/a.weights.h5", "golden": f"squeeze1/{name}/golden.npz", "best": False}
        manifest["squeeze1"][name] = entry.model_copy(update=places)
        write_manifest(manifest, path)
"""


def test_any_number_of_processes_add_to_one_manifest(tmp_path):
    path = tmp_path / "manifest.json"
    write_manifest({"squeeze1": dict(read_manifest()["squeeze1"])}, path)
    command = [sys.executable, "-c", ADD, path]
    started = [subprocess.Popen([*command, f"z{number}"], cwd=ROOT) for number in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    names = {f"z{number}-{times}" for number in range(4) for times in range(5)}
    assert parse_manifest(path)["squeeze1"].keys() == {"zoo", *names}
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


def test_an_unfinished_run_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model": "nin0"}))
    with pytest.raises(CifarZooError, match="only a finished run can be packed"):
        stage(tmp_path, tmp_path / "weights", tmp_path / "manifest.json", "tag")


def test_a_card_tells_the_published_accuracy_and_where_it_is_missed():
    entry = read_manifest()["squeeze1"]["zoo"]
    reached, missed = (
        card("squeeze1", "zoo", entry.model_copy(update=dict(test_accuracy=value))) for value in (0.878, 0.8773)
    )
    line = "\n- Published: 87.80%, SqueezeNet (squeeze1) of https://github.com/kaizouman/tensorsandbox"
    assert line + "\n" in reached and line + "; this file is 0.07 points below it\n" in missed
    assert "Published" not in card("resnet20", "zoo", entry)  # it has no row


def test_a_card_tells_the_accuracy_with_test_time_augmentation_beside_the_plain_one():
    entry = read_manifest()["squeeze1"]["zoo"]
    plain, both = card("squeeze1", "zoo", entry), card("squeeze1", "zoo", entry, 0.8912)
    assert "augmentation (flip and shift): 89.12%" in both and "89.12%" not in plain
    for text, values in (plain, [entry.test_accuracy]), (both, [entry.test_accuracy, 0.8912]):
        assert f"Test accuracy: {entry.test_accuracy:.2%} on" in text
        assert [result.metric_value for result in ModelCard(text).data.eval_results] == values
    first, second = ModelCard(both).data.eval_results
    assert first.metric_name is None and second.metric_name == "accuracy with test-time augmentation"
