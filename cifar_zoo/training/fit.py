"""Training of a network on CIFAR-10 with a recipe."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.compile_cache import keeping_compiled_steps
from cifar_zoo.backend.distribution import check_distribution, own_rows
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.backend.memory import keeping_freed_memory
from cifar_zoo.backend.precision import PRECISIONS, float32_by_default, hardware_precision
from cifar_zoo.backend.processes import (
    check_same_everywhere,
    file_of_process_0,
    naming_lost_processes,
    on_process_0,
    process_count,
    process_index,
)
from cifar_zoo.backend.seeds import seeded
from cifar_zoo.checks import integer, minutes
from cifar_zoo.data.cifar10 import CLASSES, Dataset, Split, check_split, is_cifar10, load_cifar10
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.evaluation.evaluate import evaluate
from cifar_zoo.evaluation.outputs import channels_and_classes, class_names_of
from cifar_zoo.lock import locked
from cifar_zoo.registry import model_info
from cifar_zoo.training.augment import augmentation, mixing
from cifar_zoo.training.batches import ShuffledBatches
from cifar_zoo.training.callbacks.checkpointing import Checkpointing
from cifar_zoo.training.callbacks.deadline import Deadline
from cifar_zoo.training.callbacks.device_sync import DeviceSync
from cifar_zoo.training.callbacks.early_stopping import EarlyStopping
from cifar_zoo.training.callbacks.history import HistoryLogger
from cifar_zoo.training.callbacks.interruption import Interruption
from cifar_zoo.training.callbacks.progress import ProgressDisplay
from cifar_zoo.training.callbacks.pruning import Pruning, sparsity_of
from cifar_zoo.training.callbacks.run_callbacks import RunCallbacks
from cifar_zoo.training.callbacks.session import Session
from cifar_zoo.training.clock import Clock
from cifar_zoo.training.identity import hash_architecture, hash_initial_weights, hash_split
from cifar_zoo.training.network import adapt_whitening, computing_in, dropout_layers, dropping, hidden_dense_kernels
from cifar_zoo.training.optimize import optimizer
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import find_recipe
from cifar_zoo.training.run import RunDirectory
from cifar_zoo.training.sharpness import SharpnessAwareTrainer
from cifar_zoo.training.trainer import BatchStatistics, Trainer
from cifar_zoo.weights.files import load_weights, round_to_half
from cifar_zoo.weights.store import MOST_CLASSES

STATISTICS_IMAGES = 10_000  # number of images for estimating the batch-norm statistics of averaged weights


@dataclass(frozen=True)
class Run:
    """The result of a training.

    Attributes:
        directory: Path of the run directory.
        model: The trained `keras.Model`. If a model was passed to `fit_cifar10`, it is the same object.
        history: List of dicts, one per epoch, as in history.csv.
        metrics: Dict as in metrics.json, empty for an unfinished run.
        finished: Boolean. False if `max_minutes` stopped the run early. The same call then resumes it.
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
    """Train a network on CIFAR-10, or on other labeled images, and evaluate it once, after the last epoch.

    The run directory contains config.json, history.csv and checkpoint.npz, and at the end model.weights.h5 and
    metrics.json. A checkpoint is written at least every two minutes. The previous one is kept in case the newest is
    damaged.

    If the run directory contains an unfinished run of the same configuration, the run is resumed. Its final weights are
    the same as those of an uninterrupted run, bit for bit if the backend is deterministic. A run directory can be used
    by only one training at a time.

    Ctrl-C and SIGTERM end the training after the current step, with a checkpoint. The global random generators of
    Python, NumPy and PyTorch are seeded for the training, and their states are restored afterwards. The global dtype
    policy and floatx of Keras have no influence.

    Args:
        model: Registered name of a network, or a functional or Sequential `keras.Model` from images of shape
            (batch, height, width, 3), with pixels 0..255, to the logits or the probabilities of the classes. Images are
            cropped to its input size. A model is trained in place. A network given by name has as many classes as the
            data: ten, or for arrays one more than the largest label.
        recipe: Name of a recipe ("zoo" or "paper", see `cifar-zoo recipes`), or a `Recipe`.
        epochs: Integer. Number of epochs, to which the schedule of the recipe is stretched. None for that of the
            recipe.
        batch_size: Integer. Number of images in a step. None for that of the recipe.
        data: Tuple `((x_train, y_train), (x_test, y_test))` of any images, uint8 (n, rows, columns, 3), and their
            labels, integers from 0; or a source for `load_cifar10`.
        examples: Integer. Number of training images to use, from the beginning of the training set. None for all.
        seed: Integer in [0, 2**32). Seed of the initial weights of a network given by name, of the shuffling and of all
            random draws in training.
        run_dir: Path of the run directory. Defaults to "runs/<network>-<recipe>-<seed>".
        precision: "float32", "mixed_bfloat16", or None to use "mixed_bfloat16" if the hardware supports it.
        holdout: Integer. Number of images to hold out from the end of the training set. They are evaluated after every
            epoch.
        max_minutes: Float. Time limit, shortly before which the training stops with a checkpoint, also within an epoch.
            It does not interrupt the evaluation at the end of a run. None for no limit.
        resume: Boolean. Whether to resume the run in the run directory. If False, a directory with a run is refused.
        steps_per_execution: Integer. Maximum number of steps in one compiled call, as in `keras.Model.compile`. The
            largest divisor of the number of steps in an epoch is used, and batch-level callbacks are called once per
            compiled call. Must be 1 on PyTorch.
        evaluate_test: Boolean. Whether to evaluate the test images at the end. None for True, unless images are held
            out.
        callbacks: List of Keras callbacks. Their `model` wraps the network: its methods `save`, `save_weights` and
            `load_weights` act on the network, which is `model.network`. The state of these callbacks is not part of
            checkpoints. If the recipe averages weights, changes of the weights in `on_train_end` have no effect. One
            that sets the learning rate, such as `ReduceLROnPlateau`, scales what is left of the recipe's schedule;
            `LearningRateScheduler` needs a recipe with `schedule="constant"` and `warmup_epochs=0`.
        verbose: 0 = silent, 1 = progress bar, 2 = one line per epoch. "auto" becomes 1 on a terminal and 2 otherwise.

    Returns: A `Run`. Its model has the weights of model.weights.h5. They are averaged if the recipe averages weights,
        and rounded to float16, so the accuracy is that of the file.

    With the JAX backend, all devices of `keras.distribution.DataParallel` share each batch, those of other processes
    included (docs/distributed.md). Every process must make the same call. Process 0 alone writes the run directory and
    shows the progress.

    Raises:
        CifarZooError: If an argument is invalid, if the run directory contains a run of another configuration or is in
            use by another training, if the loss is not finite, or if another process of the training is lost.
    """
    started = time.monotonic()
    options = _Options(
        epochs=integer("epochs", epochs, at_least=None, or_none=True),
        batch_size=integer("batch_size", batch_size, at_least=None, or_none=True),
        examples=integer("examples", examples, at_least=None, or_none=True),
        holdout=integer("holdout", holdout, at_least=None),
        seed=integer("seed", seed, at_least=None),
        steps_per_execution=integer("steps_per_execution", steps_per_execution, at_least=None),
        precision=precision or hardware_precision(),
        max_minutes=minutes("max_minutes", max_minutes),
        evaluate_test=not holdout if evaluate_test is None else bool(evaluate_test),
    )
    options.check()
    recipe_name, recipe = _resolve_recipe(recipe, model, options)
    callbacks = _checked_callbacks(callbacks, recipe)
    splits = _load_splits(data, options)
    with naming_lost_processes(), keeping_compiled_steps(), seeded(options.seed), float32_by_default():
        if isinstance(model, str):
            initial_weights, model = None, model_info(model).build(classes=splits.classes)
        else:
            initial_weights = hash_initial_weights(model)
        check_distribution(min(recipe.batch_size, len(splits.train[0])))
        _check_network(model, recipe, splits)
        _check_images(splits, model, recipe)
        path = Path(run_dir or f"runs/{model.name}-{recipe_name}-{options.seed}")
        config = _configuration(model, initial_weights, recipe_name, recipe, splits, options)
        check_same_everywhere({**config, "steps_per_execution": options.steps_per_execution})
        with contextlib.ExitStack() as stack:
            lock = locked(path / "run.lock", "another training", "wait for it, or choose another run directory")
            on_process_0(lambda: stack.enter_context(lock))
            run = RunDirectory(path, config, resume)
            if metrics := run.metrics():
                with file_of_process_0(run.weights) as weights:
                    load_weights(model, weights)
                return Run(run.path, model, run.history(), metrics, finished=True)
            environment = describe_environment()
            if process_count() > 1:
                environment["processes"] = process_count()
            batch_size = min(recipe.batch_size, len(splits.train[0]))
            batches = ShuffledBatches(*splits.train, batch_size, options.seed, own_rows(batch_size))
            clock = Clock(started + 60 * 0.95 * options.max_minutes, started)  # leaves time for the last checkpoint
            session = Session(run, clock, batches.steps, batches.batch_size, options.seed)
            best_epoch = _train(model, recipe, splits, batches, options, session, callbacks, verbose)
            if session.out_of_time:  # also after the last step: the next session does the evaluation
                return Run(run.path, model, session.history, {}, finished=False)
            environment |= {"dataset": splits.dataset} | ({"best_epoch": best_epoch} if best_epoch else {})
            metrics = _finish(model, recipe, splits, session, environment)
            return Run(run.path, model, session.history, metrics, finished=True)


@dataclass(frozen=True)
class _Options:
    """Arguments of `fit_cifar10` as plain values."""

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
        """Raise CifarZooError for an invalid value, or a backend that computes no gradients."""
        if (backend := keras.backend.backend()) not in ("tensorflow", "jax", "torch"):
            raise CifarZooError(f"the backend {backend!r} cannot train; set KERAS_BACKEND to tensorflow, jax or torch")
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
    """Images and labels for training and evaluation. The held-out and the test images are None if not evaluated.

    `classes` is the number of classes. `dataset` is "cifar10" for CIFAR-10 as it was published, "part" for another
    number of images from a file of CIFAR-10, and "other" for any arrays.
    """

    train: Split
    held_out: Split | None
    test: Split | None
    classes: int
    dataset: str


def _resolve_recipe(recipe: str | Recipe, model: keras.Model | str, options: _Options) -> tuple[str, Recipe]:
    name = recipe if isinstance(recipe, str) else "custom"
    if not isinstance(recipe, (str, Recipe)):
        raise CifarZooError(f"recipe must be the name of a recipe or a Recipe, not {shown(recipe)}")
    if isinstance(recipe, str):
        recipe = find_recipe(recipe, model if isinstance(model, str) else None)
    if options.batch_size is not None:
        recipe = recipe.with_(batch_size=options.batch_size)
    return name, recipe if options.epochs is None else recipe.for_epochs(options.epochs)


def _load_splits(data: Dataset | str | Path | None, options: _Options) -> _Splits:
    if data is None or isinstance(data, (str, os.PathLike)):
        (x, y), test = load_cifar10(data)
        classes, dataset = len(CLASSES), "part"
    else:
        try:
            train, test = data
        except (TypeError, ValueError):
            raise CifarZooError(
                "data must be ((training images, labels), (test images, labels)), or the path of the data set"
            ) from None
        x, y = check_split(train, "data: training", classes=None)
        test = check_split(test, "data: test", classes=None)
        classes, dataset = 1 + int(max(y.max(), test[1].max())), "other"
        if classes > MOST_CLASSES:
            raise CifarZooError(
                f"data: labels must be 0..{MOST_CLASSES - 1}, not up to {classes - 1}; "
                "numpy.unique(labels, return_inverse=True) numbers any labels from 0"
            )
    if is_cifar10((x, y), test):
        dataset = "cifar10"
    holdout, examples = options.holdout, options.examples
    if not 0 <= holdout < len(x):
        raise CifarZooError(f"holdout must be from 0 to {len(x) - 1}, not {holdout}")
    left = len(x) - holdout
    if examples is not None and not 1 <= examples <= left:
        raise CifarZooError(f"examples must be from 1 to {left}, not {examples}")
    held_out = (x[left:], y[left:]) if holdout else None
    train = (x[: examples or left], y[: examples or left])
    return _Splits(train, held_out, test if options.evaluate_test else None, classes, dataset)


def _configuration(
    model: keras.Model,
    initial_weights: str | None,
    recipe_name: str,
    recipe: Recipe,
    splits: _Splits,
    options: _Options,
) -> dict[str, Any]:
    """Return the configuration that identifies a run, for config.json."""
    names = class_names_of(model)
    return {
        "model": model.name,
        **({"class_names": names} if names else {}),
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
) -> int | None:
    """Train a network from its newest checkpoint to the last epoch or the time limit.

    Returns: the epoch whose weights the network has, counted from 1, if the recipe stops early; None for the last one.
    """
    trainer = _make_trainer(model, recipe, splits.train, batches.steps, options.seed)
    stopping = EarlyStopping(session, model, recipe.patience) if recipe.patience else None
    checkpointing = Checkpointing(session, stopping.variables if stopping else ())
    history = HistoryLogger(session, splits.held_out)
    deadline, interruption = Deadline(session), Interruption(session.clock, checkpointing.save)
    sync = DeviceSync(session, [deadline, checkpointing, interruption])
    display = ProgressDisplay(
        recipe.epochs,
        batches.steps,
        batches.batch_size,
        verbose if process_index() == 0 else 0,
    )
    own = [sync, history, *([stopping] if stopping else []), deadline, checkpointing, interruption, display]
    if recipe.sparsity:
        own.append(Pruning(model, recipe.sparsity, recipe.epochs))
    with (
        computing_in(model, options.precision),
        dropping(model, recipe.dropout),
        keeping_freed_memory(),
        interruption.handling_signals(),
        contextlib.closing(display),
    ):
        trainer.compile(optimizer(recipe, batches.steps, options.precision, model))
        trainer.build_metrics(splits.train[0][:1], splits.train[1][:1])
        trainer.optimizer.build(trainer.trainable_variables)
        checkpointing.restore(trainer)
        history.write()  # the last session may have ended between writing the checkpoint and this file
        if not (stopping and stopping.is_over):  # in an earlier session
            _fit(trainer, batches, recipe.epochs, options.steps_per_execution, [*own, *callbacks])
        if not session.out_of_time:
            if stopping:
                stopping.restore()
            _take_average(trainer, batches)
    return stopping.best_epoch if stopping else None


def _make_trainer(model: keras.Model, recipe: Recipe, train: Split, steps: int, seed: int) -> Trainer:
    (images, labels), (height, width) = train, model.input_shape[1:3]
    adapt_whitening(model, center_crop(images[:5000], height, width))
    layers = augmentation(recipe, height or images.shape[1], width or images.shape[2], steps, seed)
    weights = balanced_weights(labels, model.output_shape[-1]) if recipe.class_weight else None
    parts = (model, layers, recipe.label_smoothing, mixing(recipe, seed), weights)
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
    """Run the remaining steps: one call of `fit` for an interrupted epoch, and one for the epochs after it."""
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
                shuffle=False,  # the batches are shuffled already
                callbacks=together,
                verbose=0,
            )
        if trainer.stop_training:
            break
    together.end()


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray | None:
    """The weight of each class in the loss, as scikit-learn's class_weight="balanced", or None if all are 1.

    The weights are the mean number of images of a class, divided by that of each. A class without images has weight 1.

    Args:
        labels: Array (n,) of integers from 0.
        classes: Integer. Number of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    there = counts > 0
    weights = np.where(there, len(labels) / there.sum() / np.maximum(counts, 1), 1.0)
    return None if (weights == 1).all() else weights


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)


def _take_average(trainer: Trainer, batches: ShuffledBatches) -> None:
    """Replace the weights by their average, and recompute the batch-norm statistics for them."""
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
    """Round the weights to float16, evaluate them, and write the final files of the run."""
    measured = {"holdout": splits.held_out, "test": splits.test}
    metrics: dict[str, Any] = {}
    with np.errstate(all="warn", under="ignore"):  # float16 may underflow to zero
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
            **({"sparsity": sparsity_of(model)} if recipe.sparsity else {}),
            **environment,
        }
        return session.run.finish(model, session.history, metrics)


def _check_network(model: keras.Model, recipe: Recipe, splits: _Splits) -> None:
    channels, classes = channels_and_classes(model)
    if channels != 3 or classes < splits.classes or (splits.dataset != "other" and classes != splits.classes):
        name = "the images have" if splits.dataset == "other" else "CIFAR-10 has"
        raise CifarZooError(
            f"{name} 3 channels and {splits.classes} classes; {model.name} takes {channels} and gives {classes}"
        )
    if splits.classes < 2:
        raise CifarZooError("data: all labels are 0; a classifier needs images of two classes or more")
    if recipe.patience and splits.held_out is None:
        raise CifarZooError(
            f"recipe: patience must be None where no images are held out, not {recipe.patience}; set holdout"
        )
    for variable in model.trainable_variables:
        if variable.dtype != "float32":
            raise CifarZooError(
                f"{model.name}: {variable.path} is {variable.dtype}, and only float32 is trained; build the network "
                "under the dtype policy float32 or a mixed one"
            )
    if recipe.dropout is not None and not dropout_layers(model):
        raise CifarZooError(f"recipe: {model.name} has no dropout layer; dropout must be None, not {recipe.dropout}")
    if recipe.dense_l2 and not hidden_dense_kernels(model):
        raise CifarZooError(
            f"recipe: {model.name} has no hidden dense layer; dense_l2 must be 0, not {recipe.dense_l2}"
        )


def _checked_callbacks(callbacks: Any, recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Return a list of callbacks, or one that is given alone, as in Keras.

    Raises:
        CifarZooError: If one is something else, or sets the learning rate in every epoch, as the recipe does.
    """
    found: list[Any] = keras.tree.flatten(callbacks)
    scheduled = recipe.schedule != "constant" or recipe.warmup_epochs > 0
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise CifarZooError(f"callbacks must be instances of keras.callbacks.Callback, not {shown(callback)}")
        if scheduled and isinstance(callback, keras.callbacks.LearningRateScheduler):
            raise CifarZooError(
                "callbacks: LearningRateScheduler sets the learning rate, which follows the schedule of the recipe; "
                "set schedule='constant' and warmup_epochs=0"
            )
    return found


def _check_images(splits: _Splits, model: keras.Model, recipe: Recipe) -> None:
    for split in (splits.train, splits.held_out, splits.test):
        if split is not None:
            center_crop(split[0][:1], *model.input_shape[1:3])  # raises if the images are smaller than the input
    side = min(splits.train[0].shape[1:3])
    if recipe.padding_mode == "reflect" and recipe.padding >= side:
        raise CifarZooError(
            f"recipe: padding must be less than the side of the images, {side}, where padding_mode is 'reflect', not "
            f"{recipe.padding}"
        )
