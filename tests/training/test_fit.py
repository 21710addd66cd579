"""`fit_cifar10` on small runs."""

import csv
import inspect
import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import cifar_zoo
from cifar_zoo import CifarZooError, Recipe, fit_cifar10
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.backend.precision import hardware_precision
from cifar_zoo.results import pack
from cifar_zoo.training.augment import augmentation, mixing
from cifar_zoo.training.network import computing_in
from cifar_zoo.training.optimizers.sgd import SGD
from cifar_zoo.training.trainer import Trainer

SMALL = Recipe(
    epochs=2, batch_size=64, learning_rate=0.02, global_clipnorm=1.0, padding=0, cutout=6, label_smoothing=0.1
)
IMAGES, LABELS = np.zeros((4, 32, 32, 3), "uint8"), np.zeros(4, "int64")


def fit(small_npz, tmp_path, model="nin0", recipe=SMALL, **options):
    return fit_cifar10(model, recipe, data=small_npz, run_dir=tmp_path / "run", **{"verbose": 0, **options})


@pytest.fixture(scope="module")
def finished(small_npz, tmp_path_factory):
    return fit(small_npz, tmp_path_factory.mktemp("fit"), holdout=100, seed=3, evaluate_test=True)


def test_the_run_directory_tells_everything(finished):
    directory = finished.directory
    assert {path.name for path in directory.iterdir()} == {
        "config.json", "history.csv", "metrics.json", "model.weights.h5", "checkpoint.npz",
    }  # fmt: skip
    config = json.loads((directory / "config.json").read_text())
    assert Recipe(**config["recipe"]) == SMALL
    assert (config["model"], config["seed"], config["examples"], config["holdout"]) == ("nin0", 3, 500, 100)
    with (directory / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert {"loss", "accuracy", "val_accuracy", "learning_rate", "images_per_second", "seconds"} <= rows[0].keys()
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics == finished.metrics
    assert metrics["test_images"] == 200 and metrics["holdout_images"] == 100
    assert metrics["test_accuracy"] == metrics["test_correct"] / 200
    assert {"command", "backend", "hardware", "versions", "commit", "params", "minutes"} <= metrics.keys()
    assert [row["epoch"] for row in finished.history] == [1, 2]


def test_the_metrics_are_those_of_the_file(finished, small_npz):
    weights = str(finished.directory / "model.weights.h5")
    again = cifar_zoo.evaluate(cifar_zoo.create_model("nin0", weights=weights), small_npz)
    assert again["correct"] == finished.metrics["test_correct"]
    assert again["loss"] == pytest.approx(finished.metrics["test_loss"], rel=1e-6)


def test_a_finished_run_is_given_back(finished, small_npz):
    again = fit(small_npz, finished.directory.parent, holdout=100, seed=3, evaluate_test=True)
    assert again.finished and again.metrics == finished.metrics and again.history == finished.history
    for ours, theirs in zip(again.model.get_weights(), finished.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 4}, "holds a run with seed = 3, not 4"),
        ({"epochs": 3}, "holds a run with recipe = "),
        ({"holdout": 50}, "holds a run with examples = 500, not 550"),
        ({"resume": False}, "holds a run already"),
    ],
)
def test_another_configuration_leaves_the_run_alone(finished, small_npz, change, message):
    before = {path.name: path.read_bytes() for path in finished.directory.iterdir()}
    with pytest.raises(CifarZooError, match=message):
        fit(small_npz, finished.directory.parent, **{"holdout": 100, "seed": 3, "evaluate_test": True, **change})
    assert {path.name: path.read_bytes() for path in finished.directory.iterdir()} == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"recipe": "nonsense"}, "no recipe 'nonsense'"),
        ({"recipe": None}, "recipe must be the name of a recipe or a Recipe, not None"),
        ({"recipe": {"epochs": 3}}, "recipe must be .*, not {'epochs': 3}"),
        ({"model": "resnet21"}, "no network 'resnet21'"),
        ({"holdout": 600}, "holdout must be from 0 to 599, not 600"),
        ({"examples": 0}, "examples must be from 1 to 600, not 0"),
        ({"examples": 601}, "examples must be from 1 to 600, not 601"),
        ({"precision": "float16"}, "precision must be 'float32' or 'mixed_bfloat16', not 'float16'"),
        ({"epochs": 0}, "epochs must be greater than 0, not 0"),
        ({"seed": -1}, "seed must be from 0 to 4294967295, not -1"),
        ({"max_minutes": -1}, "max_minutes must be positive, not -1"),
        ({"steps_per_execution": 0}, "steps_per_execution must be 1 or more, not 0"),
    ],
)
def test_bad_values_are_refused_and_leave_nothing(small_npz, tmp_path, options, message):
    with pytest.raises(CifarZooError, match=message):
        fit(small_npz, tmp_path, **options)
    assert not (tmp_path / "run").exists()


NUMBERS = [
    name
    for name, parameter in inspect.signature(fit_cifar10).parameters.items()
    if str(parameter.annotation).split(" | ")[0] in {"int", "float"}
]
NO_NUMBERS = [float("nan"), float("inf"), float("1e400"), -1, 10**19, 10**30, 10**400, -(10**5000), 10**5000, "1",
              "9" * 5000, True, [1], 1j, b"1", {}]  # fmt: skip


def test_every_number_is_known():
    assert {"epochs", "batch_size", "examples", "seed", "holdout", "max_minutes"} < set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
@settings(deadline=None)
@given(st.binary() | st.dates() | st.floats(max_value=-1))
def test_any_number_that_makes_no_sense_is_refused_with_its_name(name, generated):
    for bad in (generated, *NO_NUMBERS, *(np.float64(value) for value in NO_NUMBERS if isinstance(value, float))):
        with pytest.raises(CifarZooError, match=f"^(recipe: )?{name} must be .*, not ") as caught:
            fit_cifar10("nin0", data=((IMAGES, LABELS),) * 2, run_dir="/dev/null/run", verbose=0, **{name: bad})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("padding, mode", [(32, "reflect"), (1024, "reflect"), (31, "reflect"), (40, "constant")])
def test_padding_beyond_what_can_be_reflected_is_refused(small_npz, tmp_path, padding, mode):
    recipe = Recipe(epochs=1, batch_size=100, padding=padding, padding_mode=mode)
    if mode == "reflect" and padding > 31:
        with pytest.raises(CifarZooError, match=f"padding must be less than the side of the images, 32, .*{padding}"):
            fit(small_npz, tmp_path, recipe=recipe)
        assert list(tmp_path.iterdir()) == []
    else:
        assert fit(small_npz, tmp_path, recipe=recipe, examples=100).finished


def own_network():
    """A network that has what every field of a recipe is about."""
    inputs = keras.Input((32, 32, 3))
    x = cifar_zoo.layers.PatchWhitening()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, strides=4)(x))
    x = keras.layers.Dense(8)(keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling2D()(x)))
    return keras.Model(inputs, keras.layers.Dense(10)(x), name="own")


def extremes():
    """The smallest and the largest value of every number in a recipe, by the JSON schema."""
    for name, schema in Recipe.model_json_schema()["properties"].items():
        schema = schema.get("anyOf", [schema])[0]
        if schema.get("type") in {"integer", "number"} and name != "epochs":
            step = 1 if schema["type"] == "integer" else 1e-30
            yield name, schema.get("minimum", step)
            yield name, schema.get("maximum", np.nextafter(schema.get("exclusiveMaximum", 0), 0))


@pytest.mark.full
@pytest.mark.parametrize("name, value", list(extremes()))
def test_the_extremes_of_a_recipe_train_or_are_refused(small_npz, tmp_path, name, value):
    needed = {
        "patience": {"ema_decay": None},
        "dense_l2": {"l2": 0},
        "sgd_lr_multiplier": {"optimizer": "muon"},
        "sam": {"adaptive_sam": value > 0},
    }
    recipe = Recipe(**{"epochs": 1, "batch_size": 20, "padding": 0, **needed.get(name, {}), name: value})
    try:
        run = fit(small_npz, tmp_path, own_network(), recipe, examples=60)
        assert np.isfinite(run.metrics["test_loss"])
    except CifarZooError as error:
        assert "\n" not in str(error) and ("loss is" in str(error) or name in str(error))


@pytest.mark.parametrize(
    "data, message",
    [
        (((IMAGES, LABELS),), r"data must be \(\(training images, labels\), \(test images, labels\)\), or the path"),
        ((IMAGES, LABELS), r"data: training must be a pair \(images, labels\) of arrays, not a ndarray of 4"),
        (((IMAGES, LABELS), (IMAGES,)), r"data: test must be a pair \(images, labels\) of arrays, not a tuple of 1"),
        (7, r"data must be \(\(training"),
    ],
)
def test_data_that_is_no_pair_of_splits_is_refused(tmp_path, data, message):
    with pytest.raises(CifarZooError, match=message):
        fit(data, tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"classes": 5}, "CIFAR-10 has 3 channels and 10 classes; nin0 takes 3 and gives 5"),
        ({"input_shape": (24, 24, 1)}, "nin0 takes 1 and gives 10"),
        ({"include_top": False}, r"nin0 must be a functional or Sequential model from images"),
    ],
)
def test_networks_for_something_else_are_refused(small_npz, tmp_path, options, message):
    with pytest.raises(CifarZooError, match=message):
        fit(small_npz, tmp_path, cifar_zoo.create_model("nin0", **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dropout": 0.1}, "nin0 has no dropout layer; dropout must be None, not 0.1"),
        ({"l2": 0.0, "dense_l2": 500.0}, "nin0 has no hidden dense layer; dense_l2 must be 0, not 500.0"),
    ],
)
def test_recipes_for_another_network_are_refused(small_npz, tmp_path, change, message):
    with pytest.raises(CifarZooError, match=message):
        fit(small_npz, tmp_path, recipe=SMALL.with_(**change))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_any_number_of_classes(tmp_path, classes):
    """Halves of images in one of several colors, by name; the labels of the last class are only in the test set."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (120, 24, 24, 3), "uint8"), np.arange(120) % classes
    x[:, 8:16] = (y * (255 // classes))[:, None, None, None]
    train, test = y < classes - 1, y == classes - 1
    recipe = SMALL.with_(epochs=1, batch_size=20, class_weight="balanced")
    run = fit(((x[train], y[train]), (x[test], y[test])), tmp_path, recipe=recipe)
    assert run.model.output_shape == (None, classes) and run.metrics["dataset"] == "other"
    assert (run.metrics["test_images"], run.metrics["params"]) == (test.sum(), run.model.count_params())
    again = cifar_zoo.create_model("nin0", classes=classes, weights=run.directory / "model.weights.h5")
    found = cifar_zoo.evaluate(again, (x[test], y[test]))
    assert (found["correct"], found["loss"]) == pytest.approx((run.metrics["test_correct"], run.metrics["test_loss"]))
    with pytest.raises(CifarZooError, match="its images are not the 50,000 and 10,000 of CIFAR-10"):
        pack(run.directory, tmp_path / "results")


@pytest.mark.parametrize(
    "labels, model, message",
    [
        ([0, 0, 0, 0], "nin0", "data: all labels are 0; a classifier needs images of two classes or more"),
        ([0, 1, 2, 3], 3, "the images have 3 channels and 4 classes; nin0 takes 3 and gives 3"),
        ([0, 1, 2, -1], "nin0", r"data: training labels must be 0\.\., not -1\.\.2"),
        ([0, 1, 2, 10**9], "nin0", r"data: labels must be 0\.\.99999, not up to 1000000000; numpy.unique"),
        ([0, 1, 2, 2**40], 5, r"data: labels must be 0\.\.99999, not up to 1099511627776"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, model, message):
    model = cifar_zoo.create_model("nin0", classes=model) if isinstance(model, int) else model
    with pytest.raises(CifarZooError, match=message):
        fit(((IMAGES, labels), (IMAGES, labels)), tmp_path, model)
    assert not (tmp_path / "run").exists()


def test_stopping_early_needs_images_held_out(small_npz, tmp_path):
    recipe = SMALL.with_(patience=2, ema_decay=None)
    with pytest.raises(CifarZooError, match="recipe: patience must be None where no images are held out, not 2; set"):
        fit(small_npz, tmp_path, recipe=recipe)
    assert not (tmp_path / "run").exists()
    with pytest.raises(CifarZooError, match="takes 24x24 images, and these have only 20x20 pixels"):
        test = (IMAGES[:, :20, :20], [0, 1, 0, 1])
        fit(((IMAGES, [0, 1, 0, 1]), test), tmp_path)
    assert not (tmp_path / "run").exists()


def test_images_that_are_too_small_are_refused(small_npz, tmp_path):
    with pytest.raises(CifarZooError, match="takes 48x48 images, and these have only 32x32"):
        fit(small_npz, tmp_path, cifar_zoo.create_model("nin0", input_shape=(48, 48, 3)))
    assert not (tmp_path / "run").exists()


def test_a_training_that_diverges_says_so_and_keeps_the_checkpoint(small_npz, tmp_path):
    recipe = SMALL.with_(learning_rate=1e4, global_clipnorm=None, warmup_epochs=0.0, epochs=4)
    with pytest.raises(CifarZooError, match="the loss is nan in epoch .; lower the recipe's learning_rate"):
        fit(small_npz, tmp_path, recipe=recipe)
    assert not (tmp_path / "run" / "model.weights.h5").exists()


def test_one_step_is_what_the_recipe_says(tmp_path, cifar10):
    """One step without augmentation against the same step by hand with torch."""
    torch = pytest.importorskip("torch")
    (x, y), test = cifar10
    x, y = x[:32, 4:28, 4:28], y[:32]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((24, 24, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10)
    ])  # fmt: skip
    kernel, bias = (torch.tensor(value, requires_grad=True) for value in model.get_weights())
    optimizer = torch.optim.SGD(
        [{"params": [kernel], "weight_decay": 0.01}, {"params": [bias]}], lr=0.05, momentum=0.9, nesterov=True
    )
    inputs, labels = torch.tensor(x.reshape(32, -1) / 255, dtype=torch.float32), torch.tensor(y.astype("int64"))
    loss = torch.nn.functional.cross_entropy(inputs @ kernel + bias, labels, label_smoothing=0.1)
    loss.backward()
    optimizer.step()
    recipe = Recipe(
        epochs=1, batch_size=32, learning_rate=0.05, warmup_epochs=0.0, l2=0.01, padding=0, flip=False,
        label_smoothing=0.1, ema_decay=None,
    )  # fmt: skip
    run = fit_cifar10(
        model,
        recipe,
        data=((x, y), (test[0][:8, 4:28, 4:28], test[1][:8])),
        run_dir=tmp_path,
        precision="float32",
        verbose=0,
    )
    assert run.history[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(model.get_weights(), (kernel, bias), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-4)  # float16 in the end


def test_it_learns(cifar10, tmp_path):
    train, (x, y) = cifar10
    data = train, (x[:2000], y[:2000])
    run = fit_cifar10("alex1", data=data, examples=5000, epochs=2, run_dir=tmp_path / "run", verbose=0)
    assert run.metrics["test_accuracy"] > 0.4
    assert run.history[-1]["loss"] < run.history[0]["loss"]


@pytest.mark.full
def test_batch_norm_statistics_are_estimated_for_the_final_weights(small_npz, tmp_path):
    """What the moving statistics were before has no part in them: they are those of each layer's inputs."""

    class Spoil(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            for layer in self.model.network.layers:
                if hasattr(layer, "moving_mean"):
                    layer.moving_mean.assign(layer.moving_mean + 1000.0)
                    layer.moving_variance.assign(layer.moving_variance + 1000.0)

    def statistics(directory, callbacks):
        recipe = SMALL.with_(epochs=1, cutout=0, flip=False, ema_decay=0.9)
        model = fit(small_npz, directory, "resnet20", recipe, callbacks=callbacks, precision="float32").model
        return model, {v.path: ops.convert_to_numpy(v) for v in model.variables if "moving" in v.path}

    model, clean = statistics(tmp_path / "clean", [])
    _, spoiled = statistics(tmp_path / "spoiled", [Spoil()])
    assert len(clean) == 2 * 21
    for path in clean:  # 88 batches leave one part in ten thousand
        np.testing.assert_allclose(spoiled[path], clean[path], atol=0.15, err_msg=path)

    with np.load(small_npz) as file:
        x = file["x_train"].astype("float32")
    before = keras.Model(model.input, model.get_layer("stem_conv").output)
    features = ops.convert_to_numpy(before(x)).reshape(-1, 16)
    norm = model.get_layer("stem_bn")
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), features.mean(axis=0), rtol=0.1, atol=0.05)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_variance), features.var(axis=0), rtol=0.15)


@pytest.mark.parametrize("ending", ["softmax layer", "dense softmax", "softmax operation", "nested", "logits"])
def test_any_ending_is_trained_and_measured_by_its_cross_entropy(small_npz, tmp_path, ending):
    """The loss of the first epoch at a rate of nearly zero is that of the network by numpy, however it ends."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(x))
    logits = keras.layers.Dense(10, activation="softmax" if ending == "dense softmax" else None)(x)
    output = {"softmax layer": keras.layers.Softmax(), "softmax operation": ops.softmax}.get(ending, lambda y: y)(
        logits
    )
    model = keras.Model(inputs, output)
    if ending == "nested":
        model = keras.Sequential([keras.Input((32, 32, 3)), keras.Model(inputs, keras.layers.Softmax()(logits))])
    kernel, bias = (value.astype("float64") for value in model.get_weights())
    recipe = Recipe(
        epochs=1, batch_size=600, learning_rate=1e-9, padding=0, flip=False, ema_decay=None, warmup_epochs=0.0
    )
    run = fit(small_npz, tmp_path, model, recipe, precision="float32")
    with np.load(small_npz) as file:
        for part, found, tolerance in (
            ("train", run.history[0]["loss"], 1e-4),
            ("test", run.metrics["test_loss"], 5e-3),  # weights in float16
        ):
            raw = file[f"x_{part}"].reshape(-1, 3072) / 255 @ kernel + bias
            raw -= raw.max(axis=1, keepdims=True)
            expected = np.log(np.exp(raw).sum(axis=1)) - raw[np.arange(len(raw)), file[f"y_{part}"]]
            assert found == pytest.approx(expected.mean(), rel=tolerance), part


def test_data_in_hand_are_checked(cifar10, small_npz, tmp_path):
    (x, y), (x_test, y_test) = cifar10
    keras_labels = ((x[:200], y[:200, None].astype("int64")), (x_test[:50], y_test[:50, None]))
    run = fit_cifar10("nin0", SMALL, data=keras_labels, run_dir=tmp_path / "run", verbose=0)
    assert run.metrics["test_images"] == 50
    for data in (((x[:20] / 255, y[:20]), (x_test[:5], y_test[:5])), ((x[:20], y[:19]), (x_test[:5], y_test[:5]))):
        with pytest.raises(CifarZooError, match="data: training (images|labels) must be"):
            fit_cifar10("nin0", SMALL, data=data, run_dir=tmp_path / "other", verbose=0)
    assert not (tmp_path / "other").exists()


def test_larger_images_are_cropped_at_random_in_training_and_in_the_middle_else(small_npz, tmp_path):
    """What the augmentation makes of images of 32x32 for a network of 24x24, in a run."""
    with np.load(small_npz) as file:
        x = file["x_train"][:50]
    crops = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            crop = self.model.augmentation[0]
            crops.extend(ops.convert_to_numpy(crop(x, training=training)) for training in (True, True, False))

    fit(small_npz, tmp_path, recipe=SMALL.with_(epochs=1), callbacks=[Look()])
    first, second, middle = crops
    np.testing.assert_array_equal(middle, x[:, 4:28, 4:28])
    assert first.shape == middle.shape and not np.array_equal(first, second)
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (24, 24, 3))[:, :, 0]
    assert any(np.array_equal(window, first[0]) for window in windows.reshape(-1, 24, 24, 3))


def test_callbacks_of_keras_work(small_npz, tmp_path):
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=100.0, patience=0)
    run = fit(small_npz, tmp_path, recipe=SMALL.with_(epochs=8), holdout=100, callbacks=[stop])
    assert run.finished and len(run.history) == 2 == run.metrics["epochs"]


@pytest.mark.parametrize("verbose, lines", [(0, 0), (2, 2), ("auto", 2)])
def test_plain_lines_where_there_is_no_terminal(small_npz, tmp_path, capsys, verbose, lines):
    fit(small_npz, tmp_path, verbose=verbose)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    for line in printed:
        for word in ("epoch", "loss", "accuracy", " lr ", "images/s", "left"):
            assert word in line


def test_precision_is_for_the_inner_layers_and_for_a_while():
    model = cifar_zoo.create_model("nin0")
    with computing_in(model, "mixed_bfloat16"):
        dtypes = {layer.name: layer.compute_dtype for layer in model.layers}
        assert {layer.variable_dtype for layer in model.layers} == {"float32"}
    assert dtypes["preprocessing"] == dtypes["classifier"] == dtypes["predictions"] == "float32"
    assert {dtypes[name] for name in dtypes if name.startswith("c")} - {"float32"} == {"bfloat16"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_the_precision_of_a_cpu_is_what_it_multiplies_fast():
    torch = pytest.importorskip("torch")
    if "cores of" not in describe_environment()["hardware"]:
        pytest.skip("an accelerator computes")
    has_bfloat16 = torch.cpu._is_avx512_bf16_supported()  # asks the CPU, not the system
    has_bfloat16 = has_bfloat16 and keras.backend.backend() != "jax"  # whose bfloat16 is no faster on a CPU
    assert hardware_precision() == ("mixed_bfloat16" if has_bfloat16 else "float32")


EVERYTHING = Recipe(
    epochs=2, batch_size=40, learning_rate=0.01, schedule="piecewise", decay_epochs=(1,), decay_factors=(0.5,),
    optimizer="muon", sgd_lr_multiplier=2.0, global_clipnorm=1.0, sam=0.05, adaptive_sam=True, padding=2,
    padding_mode="constant", alternating_flip=True, rotation=15.0,
    shift=0.1, shear=0.1, zoom=0.1, trivial_augment=True, brightness=63.0,
    contrast=0.8, cutout=6, mixup=0.2, label_smoothing=0.1,
)  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"mixup": 0.0, "cutmix": 1.0, "sam": 0.0, "adaptive_sam": False}])
def test_all_options_of_a_recipe_go_together(small_npz, tmp_path, change):
    recipe = EVERYTHING.with_(**change)
    run = fit(small_npz, tmp_path, recipe=recipe, holdout=100)
    assert run.finished and run.metrics["epochs"] == 2
    assert all(np.isfinite(row["loss"]) and 0 <= row["accuracy"] <= 1 for row in run.history)
    config = json.loads((run.directory / "config.json").read_text())
    assert Recipe(**config["recipe"]) == recipe
    again = fit(small_npz, tmp_path, recipe=recipe, holdout=100)
    assert again.history == run.history


def test_the_layers_of_the_augmentation_are_those_of_the_recipe():
    def names(recipe):
        made = [*augmentation(recipe, 24, 24, 10, seed=0), mixing(recipe, seed=0)]
        seeds = [layer.seed for layer in made if layer]
        assert len(set(seeds)) == len(seeds) and np.abs(np.subtract.outer(seeds, seeds) + np.eye(len(seeds))).min() > 0
        return [type(layer).__name__ for layer in made if layer]

    assert names(Recipe(flip=False)) == ["RandomCrop"]
    assert names(Recipe(cutout=8, cutmix=1.0)) == ["RandomCrop", "RandomFlip", "Cutout", "CutMix"]
    assert names(EVERYTHING) == [
        "AlternatingFlip", "RandomCrop", "RandomAffine", "TrivialAugmentWide", "RandomBrightness", "RandomContrast",
        "Cutout", "Mixup",
    ]  # fmt: skip
    contrast = augmentation(Recipe(contrast=0.8), 24, 24, 10, seed=0)[-1]
    assert (contrast.lower, contrast.upper) == pytest.approx((0.2, 1.8))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_loss_of_mixed_images(cifar10, kind):
    """Against numpy, with smoothed and mixed targets; the accuracy is by each image's own label."""
    x, y = cifar10[0][0][:64], cifar10[0][1][:64]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
                              keras.layers.Dense(10)])  # fmt: skip
    kernel, bias = model.get_weights()
    recipe = Recipe(**{kind: 1.0})
    trainer = Trainer(model, [], 0.1, mixing(recipe, seed=1))
    mixed, share = (ops.convert_to_numpy(part).astype("float64") for part in mixing(recipe, seed=1)(x, training=True))
    assert len(set(share)) == 1 and 0.05 < share[0] < 0.95
    scores = mixed.reshape(64, -1) / 255 @ kernel + bias
    target = np.eye(10)[y] * 0.9 + 0.01
    target = share[0] * target + (1 - share[0]) * np.roll(target, 1, axis=0)
    losses = np.log(np.exp(scores).sum(axis=1)) - (target * scores).sum(axis=1)

    trainer.compile(SGD(0.0))
    trainer(x[:1])
    history = trainer.fit(x, y, batch_size=64, shuffle=False, verbose=0).history
    assert history["loss"] == [pytest.approx(losses.mean(), rel=1e-4)]
    assert history["accuracy"] == [pytest.approx((scores.argmax(axis=1) == y).mean(), abs=1e-6)]
    clean = x.reshape(64, -1) / 255 @ kernel + bias
    assert trainer.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(
        np.mean(np.log(np.exp(clean).sum(axis=1)) - clean[np.arange(64), y]), rel=1e-4
    )


class Calls(keras.callbacks.Callback):
    """Notes the steps at which compiled calls begin and end."""

    def on_train_begin(self, logs=None):
        self.begins, self.ends = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begins.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(batch)


def test_several_steps_in_one_call_are_the_same_training(small_npz, tmp_path):
    """Six steps an epoch, of which five may go together: three do."""
    recipe, runs, calls = SMALL.with_(batch_size=100), [], []
    if keras.backend.backend() == "torch":
        with pytest.raises(CifarZooError, match="steps_per_execution must be 1 with PyTorch, not 5"):
            fit(small_npz, tmp_path, recipe=recipe, steps_per_execution=5)
        return
    for limit in (1, 5):
        calls.append(Calls())
        options = {"steps_per_execution": limit, "callbacks": [calls[-1]], "precision": "float32"}
        runs.append(fit(small_npz, tmp_path / str(limit), recipe=recipe, **options))
    assert (calls[1].begins, calls[1].ends) == ([0, 3, 0, 3], [2, 5, 2, 5])
    assert calls[0].begins == [*range(6), *range(6)]
    one, several = runs
    for a, b in zip(one.model.get_weights(), several.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)  # weights are rounded to float16 in the end
    assert one.history[-1]["loss"] == pytest.approx(several.history[-1]["loss"], rel=1e-4)


WHITENED = Recipe(epochs=3, batch_size=100, learning_rate=0.1, warmup_epochs=0.0, whitening_bias_epochs=2.0)


def whitened(**options):
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.ReLU()(cifar_zoo.layers.PatchWhitening(name="whitening", **options)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(10)(x), name="whitened")


def test_whitening_is_fitted_to_the_training_images_and_its_bias_learns_for_a_while(cifar10, tmp_path):
    (x, y), _ = cifar10
    data, biases, kernels = ((x[:300], y[:300]), (x[300:400], y[300:400])), [], []
    model = whitened()
    layer = model.get_layer("whitening")

    def note(epoch, logs=None):
        biases.append(ops.convert_to_numpy(layer.bias).copy())
        kernels.append(ops.convert_to_numpy(layer.kernel))  # later it is rounded

    noting = keras.callbacks.LambdaCallback(on_epoch_end=note)
    fit_cifar10(model, WHITENED, data=data, run_dir=tmp_path / "run", callbacks=[noting], verbose=0)
    patches = np.lib.stride_tricks.sliding_window_view(x[:300] / 255, (2, 2), axis=(1, 2))
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    outputs = patches @ kernels[0].reshape(12, 24)[:, :12]
    moments = outputs.T @ outputs / len(outputs)
    assert np.abs(moments - np.diag(np.diag(moments))).max() < 0.01
    assert not np.array_equal(biases[0], biases[1])
    np.testing.assert_array_equal(biases[1], biases[2])
    assert layer.trainable


def test_whitening_that_was_fitted_stays(cifar10, tmp_path):
    (x, y), _ = cifar10
    model = whitened()
    model.get_layer("whitening").adapt(x[1000:1200] / 255)
    before = ops.convert_to_numpy(model.get_layer("whitening").kernel)
    data = ((x[:100], y[:100]), (x[100:150], y[100:150]))
    fit_cifar10(model, WHITENED, data=data, epochs=1, run_dir=tmp_path / "run", verbose=0)
    after = ops.convert_to_numpy(model.get_layer("whitening").kernel)
    np.testing.assert_allclose(after, before, rtol=1e-3)  # rounded to float16


def test_test_time_augmentation_stands_beside_the_plain_figure(small_npz, tmp_path):
    run = fit(
        small_npz, tmp_path, recipe=SMALL.with_(epochs=1, test_time_augmentation=True), holdout=100, evaluate_test=True
    )
    for name in ("test", "holdout"):
        assert {f"{name}_accuracy", f"{name}_tta_accuracy"} <= run.metrics.keys()
    again = cifar_zoo.evaluate(run.model, small_npz, tta=True)
    assert again["correct"] == run.metrics["test_correct"]
    assert again["tta_correct"] == run.metrics["test_tta_correct"]
