"""Packing a run as a weights file to publish."""

import json

import numpy as np
import pytest
from huggingface_hub import ModelCard

import cifar_zoo
from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.publishing.card import card
from cifar_zoo.publishing.stage import check_recipe, stage
from cifar_zoo.weights.manifest import parse_manifest, read_manifest


def test_stage(cifar10, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    recipe = Recipe(epochs=1, batch_size=100, padding=0)
    run = fit_cifar10("nin0", recipe, data=cifar10, examples=500, run_dir=tmp_path / "run", verbose=0)
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


def test_a_network_must_have_a_best_tag(cifar10, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    recipe = Recipe(epochs=1, batch_size=100, padding=0)
    run = fit_cifar10("nin0", recipe, data=cifar10, examples=100, run_dir=tmp_path / "run", verbose=0)
    with pytest.raises(CifarZooError, match="nin0 must have exactly one tag that is best"):
        stage(run.directory, tmp_path / "weights", manifest, "tag", best=False)
    assert manifest.read_text() == "{}"


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
