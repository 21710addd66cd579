"""The examples, each run as a script."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import cifar_zoo
from cifar_zoo.data.folder import load_folder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(python):
    return lambda example, *arguments, **options: python(EXAMPLES / example, *arguments, **options)


def printed(process):
    assert process.returncode == 0, process.stderr
    return process.stdout


def accuracies(text):
    return [float(share) / 100 for share in re.findall(r"accuracy\b.*?([\d.]+)%", text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 digits of each of five classes as PNG files."""
    path = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for digit in range(5):
        (path / f"digit {digit}").mkdir()
        for number, values in enumerate(data.images[data.target == digit][:60]):
            Image.fromarray(np.uint8(values * 255 / 16)).save(path / f"digit {digit}" / f"{number}.png")
    return path


def test_finetune_on_a_folder(run, folder, tmp_path):
    text = printed(run("finetune.py", folder, "--epochs", 4, "--batch-size", 16, "--output", "a.keras", cwd=tmp_path))
    assert "240 images to train on and 60 held out, of 5 classes: digit 0, digit 1, digit 2, digit 3, digit 4" in text
    _, tuned = accuracies(text)
    assert tuned >= 0.95
    images, labels, names = load_folder(folder)
    assert re.search(rf"a.keras: an image of class ({'|'.join(names)}) is classified as \1 with", text)
    scores = keras.saving.load_model(tmp_path / "a.keras").predict(images, verbose=0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.argmax(axis=1) == labels).mean() >= 0.95


@pytest.mark.full
def test_finetune_on_digits_in_three_minutes(run, tmp_path):
    frozen, tuned = accuracies(printed(run("finetune.py", cwd=tmp_path, timeout=180)))
    assert 0.7 <= frozen < tuned
    assert tuned >= 0.97


def test_features(run, tmp_path):
    trunk, stages, nearest = accuracies(printed(run("features.py", cwd=tmp_path)))
    assert trunk >= 0.9 and stages >= 0.98 and nearest >= 0.95


@pytest.mark.full
def test_train_your_own(run, small_npz, tmp_path):
    options = ("--epochs", 1, "--examples", 256, "--data", small_npz, "--run-dir", "run")
    text = printed(run("train_your_own.py", *options, cwd=tmp_path))
    assert "179,030 parameters" in text
    assert "own_net without its classifier returns (None, 8, 8, 64)" in text
    assert (tmp_path / "run" / "model.weights.h5").is_file()


@pytest.mark.full
def test_train_your_own_learns(run, cifar10, tmp_path):
    (accuracy,) = accuracies(printed(run("train_your_own.py", "--epochs", 2, "--examples", 10_000, cwd=tmp_path)))
    assert accuracy >= 0.4  # 48 % was measured


@pytest.mark.parametrize("example", ["finetune.py", "features.py"])
def test_a_bad_folder_ends_in_one_line(run, example, tmp_path):
    """Exit code 2 and a last line that names the problem, as the commands of cifar-zoo do."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "dog" / "1.png")
    process = run(example, tmp_path, cwd=tmp_path)
    assert process.returncode == 2 and "Traceback" not in process.stderr
    assert re.search(r"error: '.*notes.txt' cannot be read as an image", process.stderr.splitlines()[-1])


@pytest.mark.full
def test_compress(run, small_npz, tmp_path):
    pytest.importorskip("onnxruntime")
    arguments = ["squeeze1", "--sparsities", "0.8", "--epochs", 1, "--examples", 300, "--data", small_npz]
    lines = printed(run("compress.py", *arguments, cwd=tmp_path)).splitlines()
    dense, pruned = json.loads((tmp_path / "compressed" / "compress.json").read_text())
    assert [line.split()[2] for line in lines] == ["0.00", "0.80"]
    assert (dense["sparsity"], pruned["sparsity"]) == (0, 0.8)
    for kind in ("float32", "int8"):
        assert 0.2 < pruned[kind]["accuracy"] <= 1
        assert pruned[kind]["compressed"] < 0.6 * dense[kind]["compressed"]
        assert abs(pruned[kind]["bytes"] - dense[kind]["bytes"]) < 2000  # only compression makes use of zeros
    assert dense["int8"]["bytes"] < 0.4 * dense["float32"]["bytes"]
    # The published weights were rounded to float16, so that half of each float32 number compresses to nothing.
    assert dense["int8"]["compressed"] < 0.6 * dense["float32"]["compressed"]
    assert "squeeze1, int8" in (tmp_path / "compressed" / "compress.svg").read_text()


@pytest.mark.full
def test_attack(run, cifar10, tmp_path):
    """FGSM is one step along the sign of the gradient, computed here by hand, and PGD is at least as strong."""
    pytest.importorskip("foolbox")
    run_attack = ["squeeze1", "--images", 60, "--epsilons", "0,1,8", "--steps", 5]
    lines = printed(run("attack.py", *run_attack, cwd=tmp_path)).splitlines()
    assert [line.split()[0].rstrip(",") for line in lines] == ["FGSM", "PGD"]
    found = json.loads((tmp_path / "attack" / "attack.json").read_text())
    fgsm, pgd = found["accuracy"].values()

    tf = pytest.importorskip("tensorflow")
    model = cifar_zoo.create_model("squeeze1", weights="cifar10", classifier_activation=None)
    x, y = cifar10[1][0][:60, 4:28, 4:28], cifar10[1][1][:60]
    with tf.GradientTape() as tape:
        images = tf.constant(x, "float32")
        tape.watch(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.constant(y, "int64"), model(images))
    sign = np.sign(tape.gradient(loss, images))
    expected = [(np.argmax(model(np.clip(x + size * sign, 0, 255)), axis=1) == y).mean() for size in (0.0, 1.0, 8.0)]
    np.testing.assert_allclose(fgsm, expected, atol=1 / 60 + 1e-6)  # one image may be decided by rounding
    assert pgd[0] == fgsm[0] and pgd[1] <= fgsm[1] and pgd[2] <= 0.05
    assert "robust accuracy" in (tmp_path / "attack" / "attack.svg").read_text()


@pytest.mark.full
def test_dead_relus(run, small_npz, tmp_path):
    arguments = ["--networks", "small_alexnet", "--epochs", 1, "--examples", 128, "--data", small_npz]
    assert printed(run("dead_relus.py", *arguments, cwd=tmp_path)).startswith("small_alexnet\n")
    found = json.loads((tmp_path / "dead_relus" / "dead_relus.json").read_text())["small_alexnet"]
    assert list(found) == ["untrained", "after 1 epochs", "published"]
    model = cifar_zoo.create_model("small_alexnet", weights="cifar10")
    layers = [layer for layer in model.layers if getattr(layer, "activation", None) is keras.activations.relu]
    hidden = keras.Model(model.input, layers[-1].output).predict(np.load(small_npz)["x_test"][:1000], verbose=0)
    last = found["published"][layers[-1].name]
    assert last["units"] == hidden.shape[-1]
    assert last["dead"] == pytest.approx((hidden <= 0).all(axis=0).mean())
    assert last["zeros"] == pytest.approx((hidden <= 0).mean())
    assert "activation of dense2" in (tmp_path / "dead_relus" / "dead_relus.svg").read_text()
