"""Fine-tuning on images of other classes: scikit-learn's digits, and photographs of scikit-image."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from skimage import data as photographs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight

import cifar_zoo
from cifar_zoo import CifarZooError, Recipe, finetune, layers
from cifar_zoo.data.images import resized
from cifar_zoo.data.split import stratified_split
from cifar_zoo.evaluation.outputs import gives_logits, logits_model
from cifar_zoo.training import clock as clock_module
from cifar_zoo.training.finetune import with_class_names
from cifar_zoo.training.fit import balanced_weights
from cifar_zoo.training.optimizers.sgd import SGD
from cifar_zoo.training.trainer import Trainer

DIGITS = load_digits()
X, Y = np.uint8(DIGITS.images * 255 / 16), DIGITS.target
FEW = Y < 4
SHORT = {"flip": False, "verbose": 0, "epochs": 1, "classifier_epochs": 0}
SHAPE = keras.Input((32, 32, 3))
QUICK = {"flip": False, "verbose": 0, "epochs": 2, "classifier_epochs": 1}


def tiny(classes=4, seed=0):
    """A network with batch norm and dropout, for every backend."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            SHAPE,
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 5, 2, use_bias=False),
            layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, name="classifier"),
        ],
        name="tiny",
    )


def write_folder(path, images, labels, names):
    for number, (values, label) in enumerate(zip(images, labels, strict=True)):
        file = path / names[label] / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)
    return path


def stored(file):
    """All arrays of a weights file."""
    weights = {}
    with h5py.File(file) as opened:
        opened.visititems(lambda name, item: weights.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return weights


def assert_same_files(one, other):
    first, second = stored(one), stored(other)
    assert first.keys() == second.keys() and len(first) > 0
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


# The command, on an unbalanced folder with what people's folders have in them.

COMMAND = ["--epochs", 3, "--classifier-epochs", 2, "--set", "flip=false", "--set", "batch_size=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60, 40 and 20 digits of three classes."""
    few = np.concatenate([np.flatnonzero(digit == Y)[: 60 - 20 * digit] for digit in range(3)])
    path = write_folder(tmp_path_factory.mktemp("folder"), X[few], Y[few], ["null", "eins", "zwei"])
    (path / "eins" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (path / "eins" / "Thumbs.db").write_bytes(b"")
    return path


@pytest.fixture(scope="module")
def tuned(zoo, folder, tmp_path_factory):
    """A finished run of the command, and what it printed."""
    directory = tmp_path_factory.mktemp("tuned") / "run"
    done = zoo("finetune", "squeeze1", folder, *COMMAND, "--run-dir", directory)
    assert done.returncode == 0, done.stderr
    return directory, done


def test_the_command_says_what_it_does(tuned):
    directory, done = tuned
    lines = done.stdout.splitlines()
    assert lines[0] == "96 images of 3 classes to train on, 24 held out"
    words = ["first", "epoch", "epoch", "now", "epoch", "epoch", "epoch", "held-out"]
    assert [line.split()[0] for line in lines[1:]] == words
    accuracy = json.loads((directory / "metrics.json").read_text())["holdout_correct"] / 24
    assert accuracy >= 0.9
    model = directory / "model.keras"
    assert lines[-1] == f"held-out accuracy {accuracy:.2%} on 24 images; the network is in {model}"
    assert [line.partition("folder0: ")[2] for line in done.stderr.splitlines() if "folder0" in line] == [
        "1 hidden and system files and folders are ignored, such as Thumbs.db",
        "1 files cannot be read as images and are left out: eins/damaged.png",
    ]


def test_the_command_predict_names_the_classes(tuned, zoo, folder):
    directory, _ = tuned
    images = [sorted((folder / name).glob("0*.png"))[0] for name in ("null", "zwei")]
    done = zoo("predict", directory / "model.keras", *images)
    assert done.returncode == 0, done.stderr
    for line, image in zip(done.stdout.splitlines(), images, strict=True):
        assert line.startswith(f"{image}: {image.parent.name} ")
        words = [part.split()[0] for part in line.removeprefix(f"{image}: ").split(", ")]
        assert sorted(words) == ["eins", "null", "zwei"]


def test_the_saved_network_is_the_measured_one(tuned, folder):
    directory, _ = tuned
    file = directory / "model.keras"
    model = keras.saving.load_model(file)
    images, labels, names = cifar_zoo.load_folder(folder)
    assert names == ["eins", "null", "zwei"] and model.output_shape == (None, 3)
    probabilities = model.predict(images[:, 4:28, 4:28], verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = [names[i] for i in probabilities.argmax(axis=1)]
    for way in (model, file, str(file)):
        assert [answer["classes"][0]["class"] for answer in cifar_zoo.predict(way, images)] == best
    renamed = cifar_zoo.predict(file, images[:1], class_names=["one", "zero", "two"])[0]["classes"]
    assert {guess["class"] for guess in renamed} == {"one", "zero", "two"}
    assert cifar_zoo.evaluate(file, (images, labels))["correct"] == (probabilities.argmax(axis=1) == labels).sum()
    weights = cifar_zoo.create_model("squeeze1", classes=3)
    cifar_zoo.load_weights(weights, directory / "model.weights.h5")
    np.testing.assert_allclose(weights.predict(images[:, 4:28, 4:28], verbose=0), probabilities, atol=1e-5)


def test_a_finished_run_is_given_back(tuned, folder):
    directory, _ = tuned
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
    options = {"epochs": 3, "classifier_epochs": 2, "flip": False, "batch_size": 8, "run_dir": directory, "verbose": 0}
    run = finetune("squeeze1", folder, **options)
    assert run.finished and run.directory == directory and len(run.history) == 3
    assert run.metrics == json.loads((directory / "metrics.json").read_text())
    (directory / "model.keras").unlink()
    assert finetune("squeeze1", str(folder), **options).metrics == run.metrics
    assert {path for path in directory.rglob("*") if path.is_file()} == before.keys()
    assert all(path.stat().st_mtime_ns == old for path, old in before.items() if path.name != "model.keras")
    for change, message in [({"seed": 1}, "seed = 0, not 1"), ({"validation_split": 0.1}, "examples = 96, not 108")]:
        with pytest.raises(CifarZooError, match=f"classifier holds a run with {message}; choose another run directory"):
            finetune("squeeze1", folder, **options, **change)
    with pytest.raises(CifarZooError, match="holds a run with recipe = {'epochs': 3}, not {'epochs': 4}"):
        finetune("squeeze1", folder, **{**options, "epochs": 4})
    with pytest.raises(CifarZooError, match="holds a run already"):
        finetune("squeeze1", folder, **options, resume=False)


def test_only_runs_on_cifar10_are_packed(tuned, zoo, tmp_path):
    directory, _ = tuned
    done = zoo("pack", directory, "--into", tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "its images are not the 50,000 and 10,000 of CIFAR-10, and only runs on these are packed" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["resnet21"], "there is no network 'resnet21'"),
        (["squeeze1", "--weights", "best"], "squeeze1 has no weights 'best'"),
        (["squeeze1", "--set", "cutuot=8"], "no field 'cutuot'; did you mean 'cutout'"),
    ],
)
def test_a_bad_command_ends_in_one_line(zoo, folder, tmp_path, arguments, message):
    name, *options = arguments
    done = zoo("finetune", name, folder, *options, "--run-dir", tmp_path / "run")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert message in done.stderr


# What is trained, and from what.


def arrays(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def half(values):
    return [value.astype("float16").astype("float32") for value in values]


def test_first_the_classifier_alone_is_trained_and_then_all_that_was_not_frozen_before(tmp_path):
    """Batch norm keeps its statistics in the first phase, and adapts them in the second."""
    network = tiny()
    convolution, norm = network.layers[1:3]
    norm.moving_mean.assign(np.linspace(0.1, 0.8, 8))
    norm.moving_variance.assign(np.linspace(0.5, 1.5, 8))
    convolution.trainable = False
    before = half(arrays(network))
    run = finetune(network, (X[FEW], Y[FEW]), run_dir=tmp_path, **QUICK)
    after = tiny()
    cifar_zoo.load_weights(after, tmp_path / "classifier" / "model.weights.h5")
    names = [f"{layer.name} {weight.name}" for layer in network.layers for weight in layer.weights]
    for model, kept in ((after, 5), (network, 1)):
        changed = [not np.array_equal(a, b) for a, b in zip(before, arrays(model), strict=True)]
        found = dict(zip(names, changed, strict=True))
        assert len(found) == 7 and changed == [False] * kept + [True] * (7 - kept), found
    assert [layer.trainable for layer in network.layers] == [layer is not convolution for layer in network.layers]
    np.testing.assert_array_equal(arrays(run.model)[-1], arrays(network)[-1])


def test_the_classifier_is_new_even_for_ten_classes(tmp_path):
    ten = finetune("squeeze1", (X[:200], Y[:200]), run_dir=tmp_path, learning_rate=1e-6, **SHORT)
    pretrained = cifar_zoo.models.squeeze1(weights="cifar10")
    for layer in pretrained.layers:
        if layer.weights:
            found, old = (ops.convert_to_numpy(m.get_layer(layer.name).kernel) for m in (ten.model, pretrained))
            distance = np.abs(found - old).mean() / np.abs(old).mean()
            assert distance > 0.5 if layer.name == "classifier" else distance < 0.01, layer.name
    assert cifar_zoo.predict(ten.model, resized(X[:1]), top=10)[0]["classes"][-1]["class"] in map(str, range(10))


@pytest.mark.parametrize("ending", ["logits", "dense softmax", "softmax layer", "named"])
def test_every_network_gives_probabilities_of_named_classes(tmp_path, ending):
    *trunk, classifier = tiny().layers
    ends = {
        "logits": [classifier],
        "dense softmax": [keras.layers.Dense(4, activation="softmax")],
        "softmax layer": [classifier, keras.layers.Softmax()],
        "named": [classifier, layers.ClassScores(["a", "b", "c", "d"])],
    }
    network = keras.Sequential([SHAPE, *trunk, *ends[ending]])
    named = with_class_names(network, ["one", "two", "three", "four"])
    images = resized(X[:8])
    outputs, probabilities = (model.predict(images, verbose=0) for model in (network, named))
    expected = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True) if ending == "logits" else outputs
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert not gives_logits(named) and logits_model(named)[1] == (ending != "dense softmax")
    named.save(tmp_path / "named.keras")
    again = keras.saving.load_model(tmp_path / "named.keras")
    np.testing.assert_allclose(again.predict(images, verbose=0), probabilities, atol=1e-6)
    assert {guess["class"] for guess in cifar_zoo.predict(again, images[:1])[0]["classes"]} < {
        "one", "two", "three", "four",
    }  # fmt: skip


def test_callbacks_follow_the_training_of_the_whole_network(tmp_path):
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    run = finetune(tiny(), (X[FEW], Y[FEW]), run_dir=tmp_path / "run", callbacks=[log], **QUICK)
    rows = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)
    assert rows["val_loss"].tolist() == pytest.approx([epoch["val_loss"] for epoch in run.history], rel=1e-5)
    assert rows["epoch"].tolist() == [0, 1]


def test_names_of_any_characters_are_kept(tmp_path):
    names = ["naïve\n", "caf\udce9", "a/b", "💡"]  # the second one is of a folder whose name is not UTF-8
    with_class_names(tiny(), names).save(tmp_path / "named.keras")
    (answer,) = cifar_zoo.predict(tmp_path / "named.keras", resized(X[:1]), top=4)
    assert sorted(guess["class"] for guess in answer["classes"]) == sorted(names)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip file at all"], ids=["empty", "cut off", "text"])
def test_what_is_no_saved_network_is_refused(tmp_path, content):
    (tmp_path / "net.keras").write_bytes(content)
    with pytest.raises(CifarZooError, match="net.keras' (cannot be loaded by Keras|is empty)") as caught:
        cifar_zoo.predict(tmp_path / "net.keras", resized(X[:1]))
    assert "\n" not in str(caught.value)
    with pytest.raises(CifarZooError, match="there is no file 'nothing.keras'"):
        cifar_zoo.evaluate("nothing.keras", (resized(X[:1]), Y[:1]))


def test_images_of_any_size_and_the_size_that_a_network_takes(tmp_path):
    """A network for 40x40 pixels sees a photograph in training as `predict` shows it to it."""
    photograph = photographs.chelsea()[:, 75:375]
    data = np.stack([photograph, 255 - photograph] * 4)
    run = finetune("squeeze1", (data, [0, 1] * 4), image_size=40, run_dir=tmp_path, **SHORT)
    assert run.model.input_shape == (None, 40, 40, 3)
    score = run.model.predict(resized(photograph[None], 40), verbose=0)[0]
    answer = cifar_zoo.predict(run.model, [photograph])[0]["classes"]
    assert {guess["class"]: guess["probability"] for guess in answer} == pytest.approx(
        {"0": score[0], "1": score[1]}, abs=2e-6
    )


BAD_DATA = [
    ((X[FEW], Y[FEW][:-1]), r"data: labels must be integers \(720,\), not int64 \(719,\)"),
    ((X[FEW], Y[FEW] / 2), "data: labels must be integers"),
    ((X[FEW], Y[FEW] - 1), r"data: labels must be 0.., not -1..2"),
    ((X[FEW], Y[FEW] * 2), "the class '1' has no images; it needs two or more"),
    ((X[:5], [0, 0, 1, 1, 2]), "the class '2' has 1 image; it needs two or more, one to train on and one to hold out"),
    ((X[:5], [0] * 5), "with two classes or more; they are up to 0, and there are 1 class names"),
    ((X / 255, Y), r"images must be whole numbers 0..255, not float64 0..1"),
    ((X * -1.0, Y), r"images must be whole numbers 0..255, not float64 -255..-?0"),
    ((X * np.nan, Y), "images must be whole numbers 0..255, not float64 nan"),
    ((X[:0], Y[:0]), r"images must be .*, not \(0, 8, 8\)"),
    ((X.reshape(-1, 64), Y), r"images must be \(n, rows, columns\) with 1, 3 or 4 channels or none, not \(1797, 64\)"),
    ((np.zeros((4, 8, 8, 2), "uint8"), [0, 1] * 2), r"images must be .*, not \(4, 8, 8, 2\)"),
    (X, r"data must be the path of a folder with one subfolder per class, or \(images, labels\)"),
    (7, r"data must be the path of a folder .*, not 7"),
    ("nowhere", "there is no folder 'nowhere'"),
]


@pytest.mark.parametrize("data, message", BAD_DATA)
def test_bad_data_are_refused(tmp_path, data, message):
    with pytest.raises(CifarZooError, match=message) as caught:
        finetune("squeeze1", data, run_dir=tmp_path / "run", verbose=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": "resnet21"}, "there is no network 'resnet21'"),
        ({"model": tiny(3)}, "tiny gives scores of 3 classes, and the data has 4; build it with classes=4"),
        ({"model": tiny(4), "image_size": 48}, "image_size must be None for a model, which has its own, not 48"),
        ({"model": keras.layers.Dense(4)}, "must be a functional or Sequential model from images"),
        ({"weights": None}, "weights must be 'cifar10', a tag or a path, not None; fit_cifar10 trains from scratch"),
        ({"weights": "best"}, "squeeze1 has no weights 'best'"),
        ({"recipe": 3}, "recipe must be the name of a recipe or a Recipe, not 3"),
        ({"recipe": "tune"}, "there is no recipe 'tune'"),
        ({"learning_rat": 0.1}, "no field 'learning_rat'; did you mean 'learning_rate'"),
        ({"epochs": 0}, "epochs must be greater than 0, not 0"),
        ({"classifier_epochs": -1}, "classifier_epochs must be an integer from 0, not -1"),
        ({"validation_split": 1}, "validation_split must be between 0 and 1, not 1"),
        ({"validation_split": "0.2"}, "validation_split must be a number between 0 and 1, not '0.2'"),
        ({"validation_split": float("nan")}, "validation_split must be a number between 0 and 1, not nan"),
        ({"image_size": 2.5}, "image_size must be a positive integer, not 2.5"),
        ({"image_size": 10**9}, "image_size must be at most"),
        ({"class_names": ["a", "b"]}, "they are up to 3, and there are 2 class names"),
        ({"class_names": ["a", "b", "c", "c"]}, "class_names must be distinct strings, not"),
        ({"class_names": [0, 1, 2, 3]}, "class_names must be distinct strings, not"),
        ({"seed": -1}, "seed must be an integer from 0, not -1"),
        ({"precision": "float16"}, "precision must be 'float32' or 'mixed_bfloat16', not 'float16'"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, options, message):
    with pytest.raises(CifarZooError, match=message):
        finetune(
            **{"model": "squeeze1", "data": (X[FEW], Y[FEW]), "run_dir": tmp_path / "run", "verbose": 0, **options}
        )
    assert not (tmp_path / "run").exists()


# Interruptions.

# Goes on with a run, and kills itself when a checkpoint of it is about to take its place.
DRIVER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_finetune import FEW, X, Y, long_run
from cifar_zoo.training import clock

folder, phase, number = sys.argv[2], sys.argv[3], int(sys.argv[4])
clock.SYNC_SECONDS, clock.CHECKPOINT_SECONDS = 0.0, -1.0  # before every step
count = 0


def watch(event, details):
    global count
    if event == "os.rename" and str(details[1]) == os.path.join(folder, phase, "checkpoint.npz"):
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(watch)
long_run(folder)
"""


def long_run(directory, **options):
    """Up to 20 epochs of 18 steps, of which early stopping leaves fewer."""
    recipe = Recipe(
        epochs=20, batch_size=32, learning_rate=0.1, schedule="constant", flip=False, padding=2, ema_decay=None,
        class_weight="balanced", patience=2,
    )  # fmt: skip
    few = np.flatnonzero(FEW)[:720]
    return finetune(
        tiny(), (X[few], Y[few]), recipe, classifier_epochs=2, run_dir=directory, seed=3, verbose=0, **options
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return long_run(tmp_path_factory.mktemp("whole"))


def test_the_best_epoch_counts(whole):
    losses = [row["val_loss"] for row in whole.history]
    best = int(np.argmin(losses)) + 1
    assert 1 < len(losses) == best + 2 < 20  # else this test says nothing
    assert whole.metrics["best_epoch"] == best and whole.metrics["epochs"] == len(losses)
    assert whole.metrics["holdout_accuracy"] == pytest.approx(whole.history[best - 1]["val_accuracy"], abs=0.01)
    config = json.loads((whole.directory / "config.json").read_text())
    assert (config["examples"], config["holdout"], config["evaluate_test"]) == (576, 144, False)


def assert_same_run(run, whole):
    drop = ("images_per_second", "seconds")
    assert [{k: v for k, v in row.items() if k not in drop} for row in run.history] == [
        {k: v for k, v in row.items() if k not in drop} for row in whole.history
    ]
    for part in (".", "classifier"):
        assert_same_files(*(path / part / "model.weights.h5" for path in (run.directory, whole.directory)))
    assert run.metrics["best_epoch"] == whole.metrics["best_epoch"]
    for ours, theirs in zip(arrays(run.model), arrays(whole.model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.full
def test_a_killed_run_goes_on(whole, tmp_path):
    """Killed in both phases, within an epoch and while a checkpoint takes the place of the one before."""
    for phase, number in (("classifier", 12), ("", 40)):
        command = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(tmp_path), phase, str(number)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
        assert not (tmp_path / phase / "metrics.json").exists()
    assert_same_run(long_run(tmp_path), whole)


def test_a_run_stopped_for_time_goes_on(whole, tmp_path, monkeypatch):
    """Anywhere: a session looks at the clock before every step and after every epoch, 17 times in all."""
    monkeypatch.setattr(clock_module, "SYNC_SECONDS", 0.0)
    looks = iter(range(10**6))
    monkeypatch.setattr(clock_module.Clock, "time_is_up", property(lambda clock: next(looks) % 17 == 16))
    sessions = 0
    while not (run := long_run(tmp_path, max_minutes=1000)).finished:
        assert run.directory == tmp_path and run.metrics == {} and not (tmp_path / "model.keras").exists()
        sessions += 1
        assert sessions < 30
    assert sessions > 4
    assert_same_run(run, whole)
    with pytest.raises(CifarZooError, match="holds a run with recipe = "):
        long_run(tmp_path, patience=3)


def test_another_order_of_the_classes_is_another_run(whole):
    with pytest.raises(CifarZooError, match=r"holds a run with class_names = \['0', '1', '2', '3'\], not \['a', "):
        long_run(whole.directory, class_names=["a", "b", "c", "d"])


# What fine-tuning needs of training.


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2, 3], [7, 1, 30, 12])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 4), expected)
    np.testing.assert_allclose(balanced_weights(labels, 5), [*expected, 1])
    assert balanced_weights(np.repeat([0, 1], 5), 2) is None


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_with_class_weights(mixed):
    """Against NumPy, in training with smoothed and mixed targets and in evaluation without."""
    model, weights = tiny(), np.array([0.5, 1.0, 2.0, 4.0])
    x, y = resized(X[FEW][:64]), Y[FEW][:64]
    mixing = layers.Mixup(1.0, seed=1) if mixed else None
    trainer = Trainer(model, [], 0.1, mixing, weights)
    trainer.compile(SGD(0.0))
    for training in (True, False):
        scores = trainer(x, training=training)
        scores, lam = scores if isinstance(scores, tuple) else (scores, np.ones(64))
        loss = trainer.compute_loss(x, y, (scores, lam) if mixed and training else scores, training=training)
        lam = ops.convert_to_numpy(lam).astype("float64")[:, None]
        logits = ops.convert_to_numpy(scores).astype("float64")
        hard = lam * np.eye(4)[y] + (1 - lam) * np.eye(4)[np.roll(y, 1)]
        soft = 0.9 * hard + 0.025 if training else hard
        losses = np.log(np.exp(logits).sum(axis=1)) - (soft * logits).sum(axis=1)
        assert float(ops.convert_to_numpy(loss)) == pytest.approx(
            (losses * (hard @ weights if training else 1)).mean(), rel=1e-4
        )


def test_the_split_has_each_class_in_its_proportion():
    labels = np.repeat([0, 1, 2, 3], [100, 50, 3, 2])
    np.random.default_rng(0).shuffle(labels)
    train, held_out = stratified_split(labels, 0.2, seed=0)
    assert np.bincount(labels[held_out]).tolist() == [20, 10, 1, 1]
    assert sorted([*train, *held_out]) == list(range(155))
    for seed, same in ((0, True), (1, False)):
        assert np.array_equal(stratified_split(labels, 0.2, seed)[1], held_out) == same
    assert np.bincount(labels[stratified_split(labels, 0.99, seed=0)[0]]).tolist() == [1, 1, 1, 1]


# Figures. Measured: see docs/finetuning.md.


@pytest.mark.full
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits(tmp_path, seed):
    """97 % of held-out digits in less than two minutes of two cores, which other tests may use meanwhile."""
    started = time.process_time()
    run = finetune("resnet20", (X, Y), flip=False, seed=seed, run_dir=tmp_path, verbose=0)
    assert run.metrics["holdout_accuracy"] >= 0.97
    assert time.process_time() - started < 2 * 120


@pytest.mark.full
def test_photographs_of_faces(tmp_path):
    """Of 200 photographs, half of faces, 60 are kept for a test."""
    images = np.uint8(np.round(255 * photographs.lfw_subset()))
    x, x_test, y, y_test = train_test_split(images, np.repeat([0, 1], 100), test_size=0.3, random_state=0)
    run = finetune("resnet20", (x, y), class_names=["face", "other"], run_dir=tmp_path, verbose=0)
    assert cifar_zoo.evaluate(run.model, (resized(x_test), y_test))["accuracy"] >= 0.95
