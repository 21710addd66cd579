"""Training of any network on CIFAR-10 by a recipe."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from cifar_zoo.data.cifar10 import Dataset, load_cifar10
from cifar_zoo.environment import describe_environment
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.evaluate import evaluate
from cifar_zoo.files import write_json, write_whole
from cifar_zoo.layers.cutout import Cutout
from cifar_zoo.layers.random_crop import RandomCrop
from cifar_zoo.layers.random_flip import RandomFlip
from cifar_zoo.models.assemble import MEAN
from cifar_zoo.registry import model_info
from cifar_zoo.training.checkpoint import load_checkpoint, save_checkpoint
from cifar_zoo.training.optimizers import SGD
from cifar_zoo.training.precision import PRECISIONS, computing_in, flat_layers, hardware_precision
from cifar_zoo.training.progress import ProgressDisplay
from cifar_zoo.training.recipe import Recipe, find_recipe
from cifar_zoo.training.schedules import TanhDecay, WarmUp
from cifar_zoo.weights.files import load_weights, round_to_half, save_weights


@dataclass(frozen=True)
class Run:
    """What a training gave.

    Attributes:
        directory: the run directory.
        model: the trained network, the same object that was given.
        history: one dict an epoch, as in history.csv.
        metrics: as in metrics.json; empty while the run is unfinished.
        finished: False where `max_minutes` ended the run early; the same call goes on with it.
    """

    directory: Path
    model: keras.Model
    history: list[dict[str, float]]
    metrics: dict[str, Any]
    finished: bool


def fit_cifar10(
    model: keras.Model | str,
    recipe: str | Recipe = "zoo",
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    data: Dataset | str | Path | None = None,
    examples: int | None = None,
    seed: int = 0,
    run_dir: str | Path | None = None,
    precision: str | None = None,
    holdout: int = 0,
    max_minutes: float | None = None,
    resume: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> Run:
    """Train a network on CIFAR-10 and measure it once on the test pictures, after the last epoch.

    The run directory receives config.json, history.csv, checkpoint.npz (after every epoch), and at the end
    model.weights.h5 and metrics.json. Where it holds an unfinished run of the same configuration, that one goes on and
    ends with the weights it would have had without the break: to the bit, where the backend repeats itself to the bit.

    Args:
        model: a registered name, or any Keras model from (batch, height, width, 3) pixels 0..255 to the scores
            or probabilities of ten classes. Pictures are cropped to its input size. It is trained in place.
        recipe: a name from `RECIPES`, or a Recipe.
        epochs, batch_size: in place of the recipe's.
        data: ((x_train, y_train), (x_test, y_test)), or a source for `load_cifar10`.
        examples: train on the first so many pictures only.
        seed: of the weights of a network given by name, of the order of the pictures and of all augmentation.
        run_dir: default "runs/<network>-<recipe>-<seed>".
        precision: "float32", "mixed_bfloat16", or None for the latter where the hardware has it.
        holdout: number of pictures, the last of the training set, that are kept out of it and measured every epoch.
        max_minutes: stop with a checkpoint when this time is nearly up, also within an epoch.
        resume: False refuses a run directory that holds a run.
        callbacks: Keras callbacks. Their `model` wraps the network, which is `model.network`.
        verbose: "auto" (a bar on a terminal, lines elsewhere), 0 (silent), 1 (bar), 2 (lines).

    Returns: a Run. The network then holds the weights of the file: averaged where the recipe averages, and rounded to
    float16, so that the test accuracy is that of the file.

    Raises:
        CifarZooError: for a value that cannot be used, or a run directory of another configuration.
    """
    started = time.monotonic()
    environment = describe_environment()
    recipe_name, recipe = _resolve_recipe(recipe, model, epochs, batch_size)
    (x_train, y_train), test = data if isinstance(data, tuple) else load_cifar10(data)
    x_train, y_train, held = _split(x_train, y_train, holdout, examples)
    batch_size = min(recipe.batch_size, len(x_train))
    keras.utils.set_random_seed(seed)
    if isinstance(model, str):
        model = model_info(model).build()
    precision = precision or hardware_precision()
    if precision not in PRECISIONS:
        raise CifarZooError(f"precision must be {' or '.join(map(repr, PRECISIONS))}, not {precision!r}")
    if max_minutes is not None and max_minutes <= 0:
        raise CifarZooError(f"max_minutes must be positive, not {max_minutes}")

    steps = len(x_train) // batch_size
    trainer = _Trainer(model, _augmentation(recipe, model, seed), recipe.label_smoothing)
    rate = learning_rate(recipe, steps)
    trainer.compile(
        optimizer=SGD(
            rate,
            recipe.momentum,
            recipe.nesterov,
            recipe.l2,
            recipe.average_decay,
            global_clipnorm=recipe.clip_norm,
        ),
    )
    run = _RunDirectory(
        Path(run_dir or f"runs/{model.name}-{recipe_name}-{seed}"),
        {
            "model": model.name,
            "recipe_name": recipe_name,
            "recipe": recipe.to_dict(),
            "seed": seed,
            "examples": len(x_train),
            "holdout": holdout,
            "precision": precision,
            "backend": keras.backend.backend(),
            "data_sha256": hashlib.sha256(x_train.tobytes() + y_train.tobytes()).hexdigest(),
        },
        resume,
    )
    if run.metrics:
        load_weights(model, run.path / "model.weights.h5")
        return Run(run.path, model, run.history(), run.metrics, finished=True)

    with computing_in(model, precision):
        trainer(x_train[:1])
        trainer.optimizer.build(trainer.trainable_variables)
        keeper = _Keeper(run, steps, batch_size, held, started, max_minutes)
        keeper.restore(trainer)
        display = ProgressDisplay(recipe.epochs, steps, batch_size, lambda step: float(rate(step)), verbose)
        order = _Order(x_train, y_train, batch_size, seed)
        while (step := int(trainer.optimizer.iterations)) < recipe.epochs * steps and not keeper.stopped:
            epoch, offset = divmod(step, steps)
            trainer.fit(
                order.batches(step),
                initial_epoch=epoch,
                epochs=epoch + 1 if offset else recipe.epochs,  # what is left of a broken epoch, then all others
                steps_per_epoch=steps - offset,
                shuffle=False,
                callbacks=[keeper, display, *callbacks],
                verbose=0,
            )
        if keeper.out_of_time and int(trainer.optimizer.iterations) < recipe.epochs * steps:
            return Run(run.path, model, keeper.history, {}, finished=False)
        _finish(trainer, order.batches(0))
    round_to_half(model)
    metrics = _measure(model, test, held, keeper) | environment
    write_whole(run.path / "model.weights.h5", lambda file: save_weights(model, file))
    write_json(run.path / "metrics.json", metrics)
    return Run(run.path, model, keeper.history, metrics, finished=True)


def _resolve_recipe(
    recipe: str | Recipe, model: keras.Model | str, epochs: int | None, batch_size: int | None
) -> tuple[str, Recipe]:
    name = recipe if isinstance(recipe, str) else "custom"
    if isinstance(recipe, str):
        info = model_info(model) if isinstance(model, str) else None
        recipe = find_recipe(recipe, info.name, info.family) if info else find_recipe(recipe)
    changes = {"epochs": epochs, "batch_size": batch_size}
    return name, recipe.with_(**{field: value for field, value in changes.items() if value is not None})


def _split(x: np.ndarray, y: np.ndarray, holdout: int, examples: int | None):
    """The training pictures and, of the last `holdout`, the held-out ones (None where there are none)."""
    if not 0 <= holdout < len(x):
        raise CifarZooError(f"holdout must be from 0 to {len(x) - 1}, not {holdout}")
    held = (x[-holdout:], y[-holdout:]) if holdout else None
    x, y = x[: len(x) - holdout], y[: len(y) - holdout]
    if examples is not None:
        if not 1 <= examples <= len(x):
            raise CifarZooError(f"examples must be from 1 to {len(x)}, not {examples}")
        x, y = x[:examples], y[:examples]
    return x, y, held


def learning_rate(recipe: Recipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of a recipe for so many steps an epoch."""
    total = recipe.epochs * steps
    if recipe.schedule == "tanh":
        schedule = TanhDecay(recipe.learning_rate, total)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, total)
    return WarmUp(schedule, round(min(recipe.warmup_epochs, recipe.epochs / 4) * steps))


def _augmentation(recipe: Recipe, model: keras.Model, seed: int) -> list[keras.layers.Layer]:
    """The layers that make training pictures out of those of the data set, in order."""
    # Seeds of neighbouring integers give overlapping streams on PyTorch; these are far apart.
    seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(3) >> 1]
    height, width = model.input_shape[1:3]
    layers: list[keras.layers.Layer] = [RandomCrop(height or 32, width or 32, recipe.padding, seed=seeds[0])]
    if recipe.flip:
        layers.append(RandomFlip(seed=seeds[1]))
    if recipe.cutout:
        layers.append(Cutout(recipe.cutout, fill=MEAN, seed=seeds[2]))
    return layers


class _Trainer(keras.Model):
    """A network with augmentation before it and the recipe's loss behind it; in inference only with a centre crop."""

    def __init__(self, network: keras.Model, augmentation: list[keras.layers.Layer], label_smoothing: float) -> None:
        super().__init__(name="trainer", dtype="float32")
        self.network = network
        self.augmentation = augmentation
        self.label_smoothing = label_smoothing
        self.scores, self.from_logits = _scores(network)
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def call(self, pictures, training=False):
        for layer in self.augmentation:
            pictures = layer(pictures, training=training)
        return self.scores(pictures, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        classes = y_pred.shape[-1]
        target = ops.one_hot(ops.cast(y, "int32"), classes)
        if training:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        return ops.mean(ops.categorical_crossentropy(target, y_pred, from_logits=self.from_logits))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.accuracy.update_state(y, y_pred)
        return self.get_metrics_result()


def _scores(network: keras.Model) -> tuple[keras.Model, bool]:
    """The part of a network that gives its class scores, and whether these are logits.

    Where the network ends in a softmax layer that layer is left out: the loss is exact only on logits.
    """
    last = network.layers[-1]
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax:
        if isinstance(last, (keras.layers.Softmax, keras.layers.Activation)):
            return keras.Model(network.input, last.input), True
        return network, False
    return network, True


class _Order:
    """The batches of a training, as a function of the step alone: a run that goes on sees what it would have seen."""

    def __init__(self, x: np.ndarray, y: np.ndarray, batch_size: int, seed: int) -> None:
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed

    def batches(self, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches from `step` on, without end."""
        epoch, place = divmod(step, len(self.x) // self.batch_size)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))
            for start in range(place * self.batch_size, len(self.x) - self.batch_size + 1, self.batch_size):
                chosen = order[start : start + self.batch_size]
                yield self.x[chosen], self.y[chosen]
            epoch, place = epoch + 1, 0


class _RunDirectory:
    """The files of a run."""

    def __init__(self, path: Path, config: dict[str, Any], resume: bool) -> None:
        self.path = path
        config_file = path / "config.json"
        if config_file.exists():
            if not resume:
                raise CifarZooError(f"{path} holds a run already; choose another run directory or resume it")
            earlier = json.loads(config_file.read_text())
            for key, value in config.items():
                if earlier.get(key) != value:
                    raise CifarZooError(
                        f"{path} holds a run with {key} = {earlier.get(key)!r}, not {value!r}; choose another directory"
                    )
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_json(config_file, config)

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.npz"

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics; empty for a run that has not ended."""
        file = self.path / "metrics.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def history(self) -> list[dict[str, float]]:
        with (self.path / "history.csv").open(newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    def write_history(self, rows: list[dict[str, float]]) -> None:
        def write(temporary: Path) -> None:
            with temporary.open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)

        if rows:
            write_whole(self.path / "history.csv", write)


class _Keeper(keras.callbacks.Callback):
    """Keeps the history, measures the held-out pictures, writes checkpoints, and watches the time."""

    async_safe = True  # the batch hook touches nothing but the clock

    def __init__(self, run: _RunDirectory, steps: int, batch_size: int, held, started: float, minutes: float | None):
        super().__init__()
        self.run, self.steps, self.batch_size, self.held = run, steps, batch_size, held
        self.started = started
        self.deadline = math.inf if minutes is None else started + 60 * minutes * 0.95
        self.history: list[dict[str, float]] = []
        self.earlier_seconds = 0.0
        self.out_of_time = False
        self.stopped = False
        self._partial_metrics: list[np.ndarray] | None = None

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier sessions included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def _variables(self, trainer: keras.Model) -> list[keras.Variable]:
        return [*trainer.variables, *trainer.optimizer.variables]

    def restore(self, trainer: keras.Model) -> None:
        """Put a trainer where the checkpoint left off, if there is one."""
        if not self.run.checkpoint.exists():
            return
        state = load_checkpoint(self.run.checkpoint, self._variables(trainer))
        self.history, self.earlier_seconds = state["history"], state["seconds"]
        self._partial_metrics = state["partial_metrics"]

    def on_train_begin(self, logs: Any = None) -> None:
        self._trainer = self.model  # reading `model` makes JAX bring back its state: not for the batch hook

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_started = time.monotonic()
        self._first_step = int(self.model.optimizer.iterations)
        if self._partial_metrics:  # of the part of this epoch before the break; Keras has just reset them
            for variable, value in zip(self.model.metrics_variables, self._partial_metrics, strict=True):
                variable.assign(value)
            self._partial_metrics = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.monotonic() > self.deadline:
            self.out_of_time = self._trainer.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        step = int(self.model.optimizer.iterations)
        partial = None
        if step % self.steps:
            partial = [ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
        else:
            elapsed = time.monotonic() - self._epoch_started
            if self.held is not None:  # before other callbacks look at the logs
                measured = self.model.evaluate(*self.held, batch_size=500, verbose=0, return_dict=True)
                logs.update({f"val_{name}": value for name, value in measured.items()})
            self.history.append(
                {
                    "epoch": epoch + 1,
                    **{name: float(value) for name, value in logs.items()},
                    "learning_rate": float(self.model.optimizer.learning_rate),
                    "pictures_per_second": (step - self._first_step) * self.batch_size / elapsed,
                    "seconds": self.seconds,
                }
            )
        state = {"history": self.history, "seconds": self.seconds, "partial_metrics": partial}
        save_checkpoint(self.run.checkpoint, self._variables(self.model), state)
        self.run.write_history(self.history)

    def on_train_end(self, logs: Any = None) -> None:
        self.stopped = bool(self.model.stop_training)


def _finish(trainer: _Trainer, batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
    """Replace the weights by their average and estimate the batch-norm statistics anew for them."""
    averages = trainer.optimizer.averaged_weights()
    if averages is None:
        return
    for variable, average in zip(trainer.trainable_variables, averages, strict=True):
        variable.assign(average)
    momenta = [layer.momentum for layer in flat_layers(trainer.network) if hasattr(layer, "moving_mean")]
    if momenta:
        # So many training-mode batches that what the statistics were before has faded to one part in ten thousand.
        count = math.ceil(math.log(1e-4) / math.log(max(momenta))) if max(momenta) > 0 else 1
        training_mode = _TrainingMode(trainer)
        training_mode.compile()
        training_mode.predict(((next(batches)[0],) for _ in range(count)), steps=count, verbose=0)


class _TrainingMode(keras.Model):
    """A network that behaves as in training when it predicts."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="training_mode", dtype="float32")
        self.network = network

    def call(self, pictures):
        return self.network(pictures, training=True)


def _measure(model: keras.Model, test, held, keeper: _Keeper) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    if held is not None:
        metrics |= {f"holdout_{name}": value for name, value in evaluate(model, held).items()}
    metrics |= {f"test_{name}": value for name, value in evaluate(model, test).items()}
    return metrics | {
        "epochs": len(keeper.history),
        "minutes": round(keeper.seconds / 60, 2),
        "pictures_per_second": round(float(np.median([row["pictures_per_second"] for row in keeper.history])), 1),
        "params": model.count_params(),
    }
