"""Training of any network on CIFAR-10 by a recipe."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.compile_cache import keep_compiled_steps
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.backend.memory import keeping_freed_memory
from cifar_zoo.backend.precision import PRECISIONS, hardware_precision
from cifar_zoo.data.cifar10 import Dataset, Split, check_split, load_cifar10
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.evaluate import evaluate
from cifar_zoo.registry import model_info
from cifar_zoo.training.augment import augmentation, mixing
from cifar_zoo.training.batches import ShuffledBatches
from cifar_zoo.training.callbacks.checkpointing import Checkpointing
from cifar_zoo.training.callbacks.deadline import Deadline
from cifar_zoo.training.callbacks.device_sync import DeviceSync
from cifar_zoo.training.callbacks.history import HistoryLogger
from cifar_zoo.training.callbacks.interruption import Interruption
from cifar_zoo.training.callbacks.progress import ProgressDisplay
from cifar_zoo.training.callbacks.run_callbacks import RunCallbacks
from cifar_zoo.training.callbacks.session import Session
from cifar_zoo.training.clock import Clock
from cifar_zoo.training.identity import hash_architecture, hash_initial_weights, hash_split
from cifar_zoo.training.lock import locked
from cifar_zoo.training.network import adapt_whitening, computing_in, dropout_layers, dropping, hidden_dense_kernels
from cifar_zoo.training.optimize import learning_rate, optimizer
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import find_recipe
from cifar_zoo.training.run import RunDirectory
from cifar_zoo.training.seeds import seeded
from cifar_zoo.training.sharpness import SharpnessAwareTrainer
from cifar_zoo.training.trainer import BatchStatistics, Trainer
from cifar_zoo.weights.files import load_weights, round_to_half

STATISTICS_IMAGES = 10_000  # over which the batch-norm statistics of averaged weights are estimated


@dataclass(frozen=True)
class Run:
    """The result of a training.

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
    steps_per_execution: int = 1,
    evaluate_test: bool | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> Run:
    """Train a network on CIFAR-10 and measure it once, after the last epoch.

    The run directory receives config.json, history.csv, checkpoint.npz (at least every two minutes; the previous one is
    kept for the case that it is damaged), and at the end model.weights.h5 and metrics.json. Where it holds an
    unfinished run of the same configuration, that one goes on and ends with the weights it would have had without the
    break: to the bit, where the backend repeats itself to the bit. While a training uses the directory, another one is
    refused.

    Ctrl-C and SIGTERM end the training after the step that is under way, with a checkpoint. The global random
    generators of Python, NumPy and PyTorch are seeded for the training and have their state back afterwards.

    Args:
        model: a registered name, or any functional or Sequential model from (batch, height, width, 3) pixels 0..255 to
            the logits or probabilities of ten classes. Images are cropped to its input size. It is trained in place.
        recipe: the name of a recipe ("zoo", "paper"; `cifar-zoo recipes` shows them), or a Recipe.
        epochs: number of epochs in place of the recipe's, which is stretched.
        batch_size: images a step in place of the recipe's.
        data: ((x_train, y_train), (x_test, y_test)), or a source for `load_cifar10`.
        examples: number of training images, the first ones; None for all.
        seed: integer in [0, 2**32): of the weights of a network given by name, of the order of the images and of all
            augmentation.
        run_dir: the run directory, by default "runs/<network>-<recipe>-<seed>".
        precision: "float32", "mixed_bfloat16", or None for the latter where the hardware has it.
        holdout: number of images, the last of the training set, that are kept out of it and measured every epoch.
        max_minutes: stop with a checkpoint when this time is nearly up, also within an epoch. The end of a run, in
            which the batch-norm statistics are estimated and the images measured, is not cut short.
        resume: False refuses a run directory that holds a run.
        steps_per_execution: how many steps one compiled call may take, as in `keras.Model.compile`. As many are taken
            as divide an epoch's steps; callbacks hear of the first and the last. 1 with PyTorch.
        evaluate_test: whether the test images are measured at the end; None for yes, unless images are held out.
        callbacks: Keras callbacks. Their `model` wraps the network, which is `model.network` and is what they save and
            load. Their own state is not in the checkpoint, and what they do to the weights at the end is lost where the
            recipe averages.
        verbose: "auto" (a bar on a terminal, lines elsewhere), 0 (silent), 1 (bar), 2 (lines).

    Returns: a Run. The network then holds the weights of the file: averaged where the recipe averages, and rounded to
    float16, so that the accuracy is that of the file.

    Raises:
        CifarZooError: for a value that cannot be used, a run directory of another configuration or in use by another
            training, or a loss that is not finite.
    """
    started = time.monotonic()
    options = _Options(
        epochs=_integer("epochs", epochs),
        batch_size=_integer("batch_size", batch_size),
        examples=_integer("examples", examples),
        holdout=_integer("holdout", holdout),
        seed=_integer("seed", seed),
        steps_per_execution=_integer("steps_per_execution", steps_per_execution),
        precision=precision or hardware_precision(),
        max_minutes=_minutes(max_minutes),
        evaluate_test=not holdout if evaluate_test is None else bool(evaluate_test),
    )
    options.check()
    recipe_name, recipe = _resolve_recipe(recipe, model, options)
    splits = _load_splits(data, options)
    keep_compiled_steps()
    with seeded(options.seed):
        if isinstance(model, str):
            initial_weights, model = None, model_info(model).build()
        else:
            initial_weights = hash_initial_weights(model)
        _check_network(model, recipe)
        center_crop(splits.train[0][:1], *model.input_shape[1:3])  # raises where the images are smaller than the input
        path = Path(run_dir or f"runs/{model.name}-{recipe_name}-{options.seed}")
        config = _configuration(model, initial_weights, recipe_name, recipe, splits, options)
        with locked(path):
            run = RunDirectory(path, config, resume)
            if metrics := run.metrics:
                load_weights(model, run.weights)
                return Run(run.path, model, run.history(), metrics, finished=True)
            environment = describe_environment()
            batches = ShuffledBatches(*splits.train, min(recipe.batch_size, len(splits.train[0])), options.seed)
            clock = Clock(started + 60 * 0.95 * options.max_minutes, started)  # the rest is for the last checkpoint
            session = Session(run, clock, batches.steps, batches.batch_size, options.seed)
            _train(model, recipe, splits, batches, options, session, callbacks, verbose)
            if session.out_of_time:  # after the last step too: the next session has time for the end
                return Run(run.path, model, session.history, {}, finished=False)
            metrics = _finish(model, recipe, splits, session, environment)
            return Run(run.path, model, session.history, metrics, finished=True)


@dataclass(frozen=True)
class _Options:
    """Arguments of `fit_cifar10` in plain types."""

    epochs: int | None
    batch_size: int | None
    examples: int | None
    holdout: int
    seed: int
    steps_per_execution: int
    precision: str
    max_minutes: float
    evaluate_test: bool

    def check(self) -> None:
        """Raise CifarZooError for a value that cannot be used."""
        if self.precision not in PRECISIONS:
            raise CifarZooError(f"precision must be {' or '.join(map(repr, PRECISIONS))}, not {self.precision!r}")
        if self.steps_per_execution < 1:
            raise CifarZooError(f"steps_per_execution must be 1 or more, not {self.steps_per_execution}")
        if self.steps_per_execution > 1 and keras.backend.backend() == "torch":
            raise CifarZooError(f"steps_per_execution must be 1 with PyTorch, not {self.steps_per_execution}")
        if not 0 <= self.seed < 2**32:
            raise CifarZooError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}")


@dataclass(frozen=True)
class _Splits:
    """Images and labels: to train on, held out, and of the test set. None are those that are not measured."""

    train: Split
    held_out: Split | None
    test: Split | None


def _integer(name: str, value: Any) -> Any:
    """A value as an int; None stays None."""
    if value is None and name in ("epochs", "batch_size", "examples"):
        return None
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise CifarZooError(f"{name} must be an integer, not {value!r}") from None


def _minutes(value: Any) -> float:
    """The time of a session; infinity for None."""
    if value is None:
        return math.inf
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.number)):
        raise CifarZooError(f"max_minutes must be a number, not {value!r}")
    if not math.isfinite(value):
        raise CifarZooError(f"max_minutes must be a finite number, not {value}")
    if value <= 0:
        raise CifarZooError(f"max_minutes must be positive, not {value}")
    return float(value)


def _resolve_recipe(recipe: str | Recipe, model: keras.Model | str, options: _Options) -> tuple[str, Recipe]:
    name = recipe if isinstance(recipe, str) else "custom"
    if isinstance(recipe, str):
        recipe = find_recipe(recipe, model if isinstance(model, str) else None)
    if options.batch_size is not None:
        recipe = recipe.with_(batch_size=options.batch_size)
    return name, recipe if options.epochs is None else recipe.for_epochs(options.epochs)


def _load_splits(data: Dataset | str | Path | None, options: _Options) -> _Splits:
    if isinstance(data, tuple):
        (x, y), test = (
            check_split(split, f"data: {name}") for name, split in zip(("training", "test"), data, strict=True)
        )
    else:
        (x, y), test = load_cifar10(data)
    holdout, examples = options.holdout, options.examples
    if not 0 <= holdout < len(x):
        raise CifarZooError(f"holdout must be from 0 to {len(x) - 1}, not {holdout}")
    left = len(x) - holdout
    if examples is not None and not 1 <= examples <= left:
        raise CifarZooError(f"examples must be from 1 to {left}, not {examples}")
    held_out = (x[left:], y[left:]) if holdout else None
    train = (x[: examples or left], y[: examples or left])
    return _Splits(train, held_out, test if options.evaluate_test else None)


def _configuration(
    model: keras.Model,
    initial_weights: str | None,
    recipe_name: str,
    recipe: Recipe,
    splits: _Splits,
    options: _Options,
) -> dict[str, Any]:
    """What makes a run the one that it is, for config.json."""
    return {
        "model": model.name,
        "recipe_name": recipe_name,
        "recipe": recipe.to_dict(),
        "seed": options.seed,
        "examples": len(splits.train[0]),
        "holdout": options.holdout,
        "evaluate_test": options.evaluate_test,
        "precision": options.precision,
        "backend": keras.backend.backend(),
        "data_sha256": hash_split(splits.train),
        "holdout_sha256": hash_split(splits.held_out),
        "test_sha256": hash_split(splits.test),
        "architecture_sha256": hash_architecture(model),
        "initial_weights_sha256": initial_weights,
    }


def _train(
    model: keras.Model,
    recipe: Recipe,
    splits: _Splits,
    batches: ShuffledBatches,
    options: _Options,
    session: Session,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: str | int,
) -> None:
    """Train a network from its newest checkpoint to the last epoch, or as far as the time goes."""
    trainer = _make_trainer(model, recipe, splits.train[0], batches.steps, options.seed)
    checkpointing, history = Checkpointing(session), HistoryLogger(session, splits.held_out)
    deadline, interruption = Deadline(session), Interruption(session.clock, checkpointing.save)
    sync = DeviceSync(session, [deadline, checkpointing, interruption])
    display = ProgressDisplay(
        recipe.epochs, batches.steps, batches.batch_size, learning_rate(recipe, batches.steps), verbose
    )
    own = [sync, history, deadline, checkpointing, interruption, display]
    with (
        computing_in(model, options.precision),
        dropping(model, recipe.dropout),
        keeping_freed_memory(),
        interruption.heeding_signals(),
        contextlib.closing(display),
    ):
        trainer.compile(optimizer(recipe, batches.steps, options.precision, model))
        trainer.build_metrics(splits.train[0][:1], splits.train[1][:1])
        trainer.optimizer.build(trainer.trainable_variables)
        checkpointing.restore(trainer)
        history.write()  # the last session may have ended between the checkpoint and this file
        _fit(trainer, batches, recipe.epochs, options.steps_per_execution, [*own, *callbacks])
        if not session.out_of_time:
            _take_average(trainer, batches)


def _make_trainer(model: keras.Model, recipe: Recipe, images: np.ndarray, steps: int, seed: int) -> Trainer:
    height, width = model.input_shape[1:3]
    adapt_whitening(model, center_crop(images[:5000], height, width))
    layers = augmentation(recipe, height or 32, width or 32, steps, seed)
    parts = (model, layers, recipe.label_smoothing, mixing(recipe, seed))
    if recipe.sam:
        return SharpnessAwareTrainer(*parts, rho=recipe.sam, adaptive=recipe.adaptive_sam)
    return Trainer(*parts)


def _fit(
    trainer: Trainer,
    batches: ShuffledBatches,
    epochs: int,
    steps_per_execution: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Take the steps that are left, by one call of `fit`, and one before it for what is left of a broken epoch."""
    step = int(trainer.optimizer.iterations)
    epoch, offset = divmod(step, batches.steps)
    if epoch >= epochs:
        return
    trainer.steps_per_execution = _largest_divisor(math.gcd(batches.steps, offset), steps_per_execution)
    together = RunCallbacks(callbacks, add_history=True, model=trainer, epochs=epochs, steps=batches.steps, verbose=0)
    together.begin()
    parts = [(epoch, epoch + 1, batches.steps - offset)] if offset else []
    for first, last, steps in [*parts, (epoch + len(parts), epochs, batches.steps)]:
        if first < last:
            trainer.fit(
                batches.batches(int(trainer.optimizer.iterations)),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=steps,
                shuffle=False,  # the batches come shuffled
                callbacks=together,
                verbose=0,
            )
        if trainer.stop_training:
            break
    together.end()


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)


def _take_average(trainer: Trainer, batches: ShuffledBatches) -> None:
    """Replace the weights by their average and estimate the batch-norm statistics anew for them."""
    averages = trainer.optimizer.averaged_weights()
    if averages is None:
        return
    for variable, average in zip(trainer.trainable_variables, averages, strict=True):
        variable.assign(average)
    images = (images for images, _ in batches.batches(0))
    BatchStatistics(trainer).estimate(images, math.ceil(STATISTICS_IMAGES / batches.batch_size))


def _finish(
    model: keras.Model, recipe: Recipe, splits: _Splits, session: Session, environment: dict[str, Any]
) -> dict[str, Any]:
    """Round the weights to those of the file, measure them, and write what the run ends with."""
    measured = {"holdout": splits.held_out, "test": splits.test}
    metrics: dict[str, Any] = {}
    with np.errstate(all="warn", under="ignore"):  # numbers that become zero in float16 are no error
        round_to_half(model)
        for prefix, split in measured.items():
            if split is not None:
                figures = evaluate(model, split, tta=recipe.test_time_augmentation)
                metrics |= {f"{prefix}_{name}": value for name, value in figures.items()}
        metrics |= {
            "epochs": len(session.history),
            "minutes": round(session.seconds / 60, 2),
            "images_per_second": round(float(np.median([row["images_per_second"] for row in session.history])), 1),
            "params": model.count_params(),
            **environment,
        }
        session.run.finish(model, session.history, metrics)
    return metrics


def _check_network(model: keras.Model, recipe: Recipe) -> None:
    taken, given = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not (isinstance(taken, tuple) and len(taken) == 4 and isinstance(given, tuple) and len(given) == 2):
        raise CifarZooError(
            f"{model.name} must be a functional or Sequential model from images (batch, height, width, 3) to scores "
            f"(batch, classes); it takes {taken} and gives {given}"
        )
    if taken[-1] != 3 or given[-1] != 10:
        raise CifarZooError(
            f"CIFAR-10 has 3 channels and 10 classes; {model.name} takes {taken[-1]} and gives {given[-1]}"
        )
    if recipe.dropout is not None and not dropout_layers(model):
        raise CifarZooError(f"recipe: {model.name} has no dropout layer; dropout must be None, not {recipe.dropout}")
    if recipe.dense_l2 and not hidden_dense_kernels(model):
        raise CifarZooError(
            f"recipe: {model.name} has no hidden dense layer; dense_l2 must be 0, not {recipe.dense_l2}"
        )
