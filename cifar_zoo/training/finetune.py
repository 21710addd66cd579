"""Fine-tuning of a pretrained network on images of other classes."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.precision import float32_by_default
from cifar_zoo.backend.seeds import seeded
from cifar_zoo.checks import integer
from cifar_zoo.data.cifar10 import Split, check_split
from cifar_zoo.data.folder import load_folder
from cifar_zoo.data.images import check_image_size, resized, side_for
from cifar_zoo.data.split import stratified_split
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.evaluation.outputs import channels_and_classes, logits_model
from cifar_zoo.files import write_atomically
from cifar_zoo.layers.class_scores import ClassScores
from cifar_zoo.registry import create_model, model_info
from cifar_zoo.training.fit import Run, fit_cifar10
from cifar_zoo.training.network import changed, flat_layers
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import find_recipe, finetuning_recipe
from cifar_zoo.weights.store import check_pretrained

MODEL = "model.keras"
# How the classifier alone is trained, whatever the recipe: a convex problem, for which a high learning rate is safe.
CLASSIFIER: dict[str, Any] = {
    "schedule": "cosine",
    "decay_epochs": (),
    "decay_factors": (),
    "learning_rate": 0.3,
    "optimizer": "sgd",
    "fixed_norm": False,
    "sgd_lr_multiplier": 1.0,
    "bn_bias_lr_multiplier": 1.0,
    "whitening_bias_epochs": None,
    "dense_l2": 0.0,
    "clipnorm": None,
    "global_clipnorm": 1.0,
    "sam": 0.0,
    "adaptive_sam": False,
    "sparsity": 0.0,
}


def finetune(
    model: keras.Model | str,
    data: str | Path | tuple[Any, Any],
    recipe: str | Recipe | None = None,
    *,
    weights: str | Path = "cifar10",
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    validation_split: float = 0.2,
    classifier_epochs: int = 5,
    seed: int = 0,
    run_dir: str | Path | None = None,
    precision: str | None = None,
    max_minutes: float | None = None,
    resume: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    **changes: Any,
) -> Run:
    """Fine-tune a pretrained network on your own images, of any number of classes and any size.

    First only the new classifier is trained, on the frozen trunk, whose batch norm keeps its statistics. Then the whole
    network is trained with the recipe, at a lower learning rate than from scratch. A part of the images is held out:
    their loss decides when the training stops and which epoch's weights the network has in the end. Their accuracy is
    therefore slightly optimistic.

    The run directory is that of `fit_cifar10`, with the first phase in its folder "classifier", and it contains the
    network as model.keras, with the names of its classes. `cifar_zoo.predict` takes this file, and
    `keras.saving.load_model` loads it where cifar_zoo is imported. The same call resumes a run that was interrupted or
    killed.

    Images are brought to the input size of the network as `predict` does it: their central square is resized to
    32x32, or to the input size of a network that takes larger images. A network that takes smaller images crops them.

    Args:
        model: Registered name of a network, which gets a new classifier; or a functional or Sequential `keras.Model`
            from images of shape (batch, height, width, 3), with pixels 0..255, to scores of as many classes as the data
            has. A model is trained in place, from the weights that it has.
        data: Path of a folder with one subfolder per class, as for `load_folder`; or a tuple `(images, labels)`: whole
            numbers 0..255 of shape (n, rows, columns), or with 1, 3 or 4 channels in a last axis, and integers (n,)
            from 0 to classes - 1.
        recipe: Name of a recipe, or a `Recipe`, for the training of the whole network. None for ours, which has the
            augmentation of the network's recipe "zoo".
        weights: For a name: "cifar10", a tag, a path, or the address hf://ORG/NAME of a repository of the hub.
        class_names: For arrays: the names of the classes, by default "0", "1" and so on. A folder has its own.
        image_size: Integer. For a name: height and width of the network's input. None for its default.
        validation_split: Float in (0, 1). Fraction of the images of each class to hold out, drawn by the seed.
        classifier_epochs: Integer. Number of epochs in which only the classifier is trained. 0 for none.
        seed: Integer in [0, 2**32). Seed of the new classifier, of the images held out, and of the training.
        run_dir: Path of the run directory. Defaults to "runs/<network>-finetune-<seed>".
        precision: As for `fit_cifar10`.
        max_minutes: Float. Time limit of the training, as for `fit_cifar10`. None for no limit.
        resume: Boolean. Whether to resume the run in the run directory. If False, a directory with a run is refused.
        callbacks: List of Keras callbacks for the training of the whole network, as for `fit_cifar10`.
        verbose: 0 = silent, 1 = progress bar, 2 = one line per epoch. "auto" becomes 1 on a terminal and 2 otherwise.
        **changes: Fields of the recipe to change, such as `flip=False`, `epochs=30` or `learning_rate=0.01`.

    Returns: A `Run`, whose history and metrics are those of the training of the whole network. Its model gives
        probabilities, and has the layers of a network that was passed.

    Raises:
        CifarZooError: If an argument is invalid, if the data cannot be used, or as for `fit_cifar10`.
    """
    started = time.monotonic()
    first, whole = _recipes(recipe, model, changes, classifier_epochs)
    seed = integer("seed", seed, at_least=0)
    if isinstance(model, str):
        shape = _input_shape(model, weights, image_size)
        images, labels, names = _load(data, side_for(shape), class_names)
        with seeded(seed), float32_by_default():
            model = _with_new_classifier(model, weights, len(names), shape)
    else:
        if image_size is not None:
            raise CifarZooError(f"image_size must be None for a model, which has its own, not {shown(image_size)}")
        channels_and_classes(model)  # raises for another kind of model
        images, labels, names = _load(data, side_for(model.input_shape[1:]), class_names)
    model = with_class_names(model, names)
    train, held_out = stratified_split(labels, validation_split, seed)
    order = np.concatenate([train, held_out])
    options: dict[str, Any] = {
        "data": ((images[order], labels[order]), (images[held_out], labels[held_out])),
        "holdout": len(held_out),
        "evaluate_test": False,
        "seed": seed,
        "precision": precision,
        "resume": resume,
        "verbose": verbose,
    }
    path = Path(run_dir or f"runs/{model.name}-finetune-{seed}")

    def say(line: str) -> None:
        if verbose:
            print(line)

    say(f"{len(train)} images of {len(names)} classes to train on, {len(held_out)} held out")
    if first is not None:
        say("first only the classifier is trained")
        with _frozen_trunk(model):
            run = fit_cifar10(model, first, run_dir=path / "classifier", max_minutes=max_minutes, **options)
        if run.finished and max_minutes is not None:
            max_minutes -= (time.monotonic() - started) / 60
        if not run.finished or (max_minutes is not None and max_minutes <= 0):
            return dataclasses.replace(run, directory=path, metrics={}, finished=False)
        say(f"now the whole network is trained, from a held-out accuracy of {run.metrics['holdout_accuracy']:.2%}")
    done = (path / "metrics.json").exists()
    run = fit_cifar10(model, whole, run_dir=path, max_minutes=max_minutes, callbacks=callbacks, **options)
    if run.finished and not (done and (path / MODEL).exists()):
        _save(model, path / MODEL)
    return run


def _recipes(
    recipe: str | Recipe | None, model: keras.Model | str, changes: dict[str, Any], classifier_epochs: Any
) -> tuple[Recipe | None, Recipe]:
    """Return the recipes for the classifier alone, or None without such epochs, and for the whole network."""
    name = model if isinstance(model, str) else None
    if recipe is None:
        recipe = finetuning_recipe(name)
    elif isinstance(recipe, str):
        recipe = find_recipe(recipe, name)
    elif not isinstance(recipe, Recipe):
        raise CifarZooError(f"recipe must be the name of a recipe or a Recipe, not {shown(recipe)}")
    count = integer("classifier_epochs", classifier_epochs, at_least=0)
    epochs = changes.pop("epochs", recipe.epochs)
    recipe = recipe.with_(**changes).for_epochs(epochs)
    return recipe.with_(epochs=count, **CLASSIFIER) if count else None, recipe


def _input_shape(name: str, weights: str | Path | None, image_size: Any) -> tuple[int, int, int]:
    """Return the shape of the images that a network given by name takes, before anything large is loaded."""
    info = model_info(name)
    if weights is None:
        raise CifarZooError("weights must be 'cifar10', a tag or a path, not None; fit_cifar10 trains from scratch")
    check_pretrained(info.name, weights)
    if image_size is None:
        return info.input_shape
    side = check_image_size(image_size)
    return side, side, 3


def _load(data: Any, side: int, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the images (n, side, side, 3), their labels, and the names of the classes, all of which have images."""
    if isinstance(data, (str, Path)):
        if class_names is not None:
            raise CifarZooError("class_names must be None for a folder, whose subfolders have the names")
        images, labels, names = load_folder(data, side)
    else:
        images, labels = check_split(_pixels(data, side), "data:", classes=None)
        classes = int(labels.max()) + 1
        names = [str(number) for number in range(classes)] if class_names is None else list(class_names)
        if len(names) != classes or classes < 2:
            raise CifarZooError(
                f"data: labels must be from 0 to the number of classes - 1, with two classes or more; they are up to "
                f"{classes - 1}, and there are {len(names)} class names"
            )
    for name, count in zip(names, np.bincount(labels).tolist(), strict=True):
        if count < 2:
            raise CifarZooError(
                f"the class {name!r} has {count or 'no'} image{'s' * (count != 1)}; it needs two or more, one to train "
                "on and one to hold out"
            )
    return images, labels, names


def _pixels(data: Any, side: int) -> Split:
    """Return images and labels with the images in the size that a folder's would have."""
    try:
        images, labels = data
        images = np.asarray(images)
    except (TypeError, ValueError):
        raise CifarZooError(
            f"data must be the path of a folder with one subfolder per class, or (images, labels), not {shown(data)}"
        ) from None
    return resized(images, side), labels


def _with_new_classifier(name: str, weights: str | Path, classes: int, shape: tuple[int, int, int]) -> keras.Model:
    """Build a network with the trunk of its weights and a random classifier, even if they have as many classes."""
    network = create_model(name, weights=weights, classes=classes, input_shape=shape)
    new = create_model(name, classes=classes, input_shape=shape)
    for layer in network.layers:
        if layer.name.startswith("classifier"):
            for weight, value in zip(layer.weights, new.get_layer(layer.name).weights, strict=True):
                weight.assign(value)
    return network


def with_class_names(model: keras.Model, names: list[str]) -> keras.Model:
    """Return a network of the same layers that ends in the probabilities of the named classes."""
    _, classes = channels_and_classes(model)
    if classes != len(names):
        raise CifarZooError(
            f"{model.name} gives scores of {classes} classes, and the data has {len(names)}; build it with "
            f"classes={len(names)}, or give its name"
        )
    scores, from_logits = logits_model(model)
    named = ClassScores(names, "softmax" if from_logits else "linear", dtype="float32")
    return keras.Model(model.inputs[0], named(scores.outputs[0]), name=model.name)


@contextmanager
def _frozen_trunk(model: keras.Model) -> Iterator[None]:
    """Freeze all layers but the classifier within this context. Frozen batch norm is in inference mode.

    The classifier is the layers whose names start with "classifier", as in all networks of the zoo, or else the last
    layer with weights.
    """
    layers = flat_layers(model)
    weighted = [layer for layer in layers if layer.weights]
    classifier = [layer for layer in weighted if layer.name.startswith("classifier")] or weighted[-1:]
    trunk = [layer for layer in layers if not any(layer is own for own in classifier)]
    with changed([(layer, False) for layer in trunk], "trainable"):
        yield


def _save(model: keras.Model, path: Path) -> None:
    """Write a .keras file whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / MODEL)
        write_atomically(path, lambda temporary: shutil.copyfile(Path(folder) / MODEL, temporary))
