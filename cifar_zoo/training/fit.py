"""Training of any network on CIFAR-10 by a recipe."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
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
from cifar_zoo.training.network import (
    adapt_whitening,
    computing_in,
    dropout_layers,
    dropping,
    flat_layers,
    hidden_dense_kernels,
)
from cifar_zoo.training.optimize import learning_rate, optimizer
from cifar_zoo.training.progress import ProgressDisplay
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import find_recipe
from cifar_zoo.training.run import Keeper, RunDirectory
from cifar_zoo.training.sharpness import SharpnessAwareTrainer
from cifar_zoo.training.trainer import Trainer, TrainingMode
from cifar_zoo.weights.files import load_weights, round_to_half


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
    steps_per_execution: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> Run:
    """Train a network on CIFAR-10 and measure it once on the test images, after the last epoch.

    The run directory receives config.json, history.csv, checkpoint.npz (at least every two minutes; the one before it
    is kept for the case that it is damaged), and at the end model.weights.h5 and metrics.json. Where it holds an
    unfinished run of the same configuration, that one goes on and ends with the weights it would have had without the
    break: to the bit, where the backend repeats itself to the bit.

    Args:
        model: a registered name, or any functional or Sequential model from (batch, height, width, 3) pixels 0..255 to
            the logits or probabilities of ten classes. Images are cropped to its input size. It is trained in place.
        recipe: the name of one ("zoo", "paper"; `cifar-zoo recipes` shows them), or a Recipe.
        epochs: in place of the recipe's, which is stretched.
        batch_size: in place of the recipe's.
        data: ((x_train, y_train), (x_test, y_test)), or a source for `load_cifar10`.
        examples: train on the first so many images only.
        seed: of the weights of a network given by name, of the order of the images and of all augmentation.
        run_dir: default "runs/<network>-<recipe>-<seed>".
        precision: "float32", "mixed_bfloat16", or None for the latter where the hardware has it.
        holdout: number of images, the last of the training set, that are kept out of it and measured every epoch.
        max_minutes: stop with a checkpoint when this time is nearly up, also within an epoch. The end of a run, in
            which the batch-norm statistics are estimated and the test images measured, is not broken off.
        resume: False refuses a run directory that holds a run.
        steps_per_execution: how many steps one compiled call may take, which spares the host work where a step takes
            milliseconds. As many are taken as divide an epoch's steps; callbacks hear of the first and the last. 1 with
            PyTorch.
        callbacks: Keras callbacks. Their `model` wraps the network, which is `model.network`. Their own state is not in
            the checkpoint, and what they do to the weights at the end goes where the recipe averages.
        verbose: "auto" (a bar on a terminal, lines elsewhere), 0 (silent), 1 (bar), 2 (lines).

    Returns: a Run. The network then holds the weights of the file: averaged where the recipe averages, and rounded to
    float16, so that the test accuracy is that of the file.

    Raises:
        CifarZooError: for a value that cannot be used, a run directory of another configuration, or a loss that is not
            finite.
    """
    started = time.monotonic()
    recipe_name, recipe = _resolve_recipe(recipe, model, epochs, batch_size)
    precision = precision or hardware_precision()
    _check_arguments(precision, max_minutes, steps_per_execution, seed)
    if isinstance(data, tuple):
        train, test = (
            check_split(split, f"data: {name}") for name, split in zip(("training", "test"), data, strict=True)
        )
    else:
        train, test = load_cifar10(data)
    (x_train, y_train), held_out = _split(*train, holdout, examples)
    keep_compiled_steps()
    keras.utils.set_random_seed(seed)
    if isinstance(model, str):
        model = model_info(model).build()
    _check_network(model, recipe)
    center_crop(x_train[:1], *model.input_shape[1:3])  # raises where the images are smaller than the input

    environment = describe_environment()
    run = RunDirectory(
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
    if metrics := run.metrics:
        load_weights(model, run.weights)
        return Run(run.path, model, run.history(), metrics, finished=True)

    order = ShuffledBatches(x_train, y_train, min(recipe.batch_size, len(x_train)), seed)
    total = recipe.epochs * order.steps
    height, width = model.input_shape[1:3]
    layers = augmentation(recipe, height or 32, width or 32, order.steps, seed)
    parts = (model, layers, recipe.label_smoothing, x_train[:8], mixing(recipe, seed))
    if recipe.sam:
        trainer: Trainer = SharpnessAwareTrainer(*parts, rho=recipe.sam, adaptive=recipe.adaptive_sam)
    else:
        trainer = Trainer(*parts)
    adapt_whitening(model, center_crop(x_train[:5000], height, width))
    trainer.compile(optimizer(recipe, order.steps, precision, model))
    keeper = Keeper(run, order.steps, order.batch_size, seed, held_out, started, max_minutes)
    display = ProgressDisplay(recipe.epochs, order.steps, order.batch_size, learning_rate(recipe, order.steps), verbose)
    whitening_ends = min(recipe.epochs, math.ceil(recipe.whitening_bias_epochs or recipe.epochs))
    with (
        computing_in(model, precision),
        dropping(model, recipe.dropout),
        keeping_freed_memory(),
        keeper.heeding_interrupts(),
    ):
        trainer(x_train[:1])
        trainer.optimizer.build(trainer.trainable_variables)
        keeper.restore(trainer)
        try:
            while (step := int(trainer.optimizer.iterations)) < total and not keeper.stopped:
                epoch, offset = divmod(step, order.steps)
                together = _largest_divisor(math.gcd(order.steps, offset), steps_per_execution)
                trainer.change_step(together, hold_whitening=epoch >= whitening_ends)
                trainer.fit(
                    order.batches(step),
                    initial_epoch=epoch,
                    # What is left of a broken epoch, then all others, as long as the step is the same.
                    epochs=epoch + 1 if offset else min(end for end in (whitening_ends, recipe.epochs) if end > epoch),
                    steps_per_epoch=order.steps - offset,
                    shuffle=False,  # the batches come shuffled
                    callbacks=[keeper, display, *callbacks],
                    verbose=0,
                )
        finally:
            display.close()
            trainer.change_step(1, hold_whitening=False)
        if keeper.out_of_time:  # after the last step too: the next session has time for the end
            return Run(run.path, model, keeper.history, {}, finished=False)
        _take_average(trainer, order.batches(0))
    round_to_half(model)
    measured = {"test": test} if held_out is None else {"holdout": held_out, "test": test}
    metrics = {}
    for prefix, split in measured.items():
        figures = evaluate(model, split, tta=recipe.test_time_augmentation)
        metrics |= {f"{prefix}_{name}": value for name, value in figures.items()}
    metrics |= {
        "epochs": len(keeper.history),
        "minutes": round(keeper.seconds / 60, 2),
        "images_per_second": round(float(np.median([row["images_per_second"] for row in keeper.history])), 1),
        "params": model.count_params(),
        **environment,
    }
    run.finish(model, keeper.history, metrics)
    return Run(run.path, model, keeper.history, metrics, finished=True)


def _resolve_recipe(
    recipe: str | Recipe, model: keras.Model | str, epochs: int | None, batch_size: int | None
) -> tuple[str, Recipe]:
    name = recipe if isinstance(recipe, str) else "custom"
    if isinstance(recipe, str):
        recipe = find_recipe(recipe, model if isinstance(model, str) else None)
    if batch_size is not None:
        recipe = recipe.with_(batch_size=batch_size)
    return name, recipe if epochs is None else recipe.for_epochs(epochs)


def _check_arguments(precision: str, max_minutes: float | None, steps_per_execution: int, seed: int) -> None:
    if precision not in PRECISIONS:
        raise CifarZooError(f"precision must be {' or '.join(map(repr, PRECISIONS))}, not {precision!r}")
    if max_minutes is not None and max_minutes <= 0:
        raise CifarZooError(f"max_minutes must be positive, not {max_minutes}")
    if steps_per_execution < 1:
        raise CifarZooError(f"steps_per_execution must be 1 or more, not {steps_per_execution}")
    if steps_per_execution > 1 and keras.backend.backend() == "torch":
        raise CifarZooError(f"steps_per_execution must be 1 with PyTorch, not {steps_per_execution}")
    if not 0 <= seed < 2**32:
        raise CifarZooError(f"seed must be from 0 to {2**32 - 1}, not {seed}")


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)


def _split(x: np.ndarray, y: np.ndarray, holdout: int, examples: int | None) -> tuple[Split, Split | None]:
    """The training images, and the last `holdout` of them that are held out (None where there are none)."""
    if not 0 <= holdout < len(x):
        raise CifarZooError(f"holdout must be from 0 to {len(x) - 1}, not {holdout}")
    held_out = (x[-holdout:], y[-holdout:]) if holdout else None
    left = len(x) - holdout
    if examples is not None and not 1 <= examples <= left:
        raise CifarZooError(f"examples must be from 1 to {left}, not {examples}")
    return (x[: examples or left], y[: examples or left]), held_out


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


def _take_average(trainer: Trainer, batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
    """Replace the weights by their average and estimate the batch-norm statistics anew for them."""
    averages = trainer.optimizer.averaged_weights()
    if averages is None:
        return
    for variable, average in zip(trainer.trainable_variables, averages, strict=True):
        variable.assign(average)
    momenta = [layer.momentum for layer in flat_layers(trainer.network) if hasattr(layer, "moving_mean")]
    if momenta:
        # So many batches in training mode that what the statistics were before has faded to one part in ten thousand.
        count = math.ceil(math.log(1e-4) / math.log(max(momenta))) if max(momenta) > 0 else 1
        training_mode = TrainingMode(trainer)
        training_mode.compile()
        training_mode.predict(((next(batches)[0],) for _ in range(count)), steps=count, verbose=0)
