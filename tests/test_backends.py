"""Tests that depend on the backend, repeated in a process with JAX and in one with PyTorch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_zoo.weights.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent
QUICK = [
    "cifar_zoo/layers",
    "tests/layers",
    "tests/training/test_finetune.py::test_a_run_stopped_for_time_goes_on",
    "tests/training/test_finetune.py::test_first_the_classifier_alone_is_trained_and_then_all_that_was_not_frozen_before",
    "tests/training/test_finetune.py::test_the_loss_with_class_weights",
    "tests/training/test_muon.py",
    "tests/training/test_optimizers.py",
    "tests/training/test_pruning.py::test_zeros_stay_and_all_else_moves",
    "tests/training/test_schedules.py",
    "tests/training/test_sharpness.py::test_both_passes_see_the_same_and_the_first_one_counts",
    "tests/training/test_sharpness.py::test_a_step_is_that_of_the_definition",
    "tests/weights/test_manifest.py",
    "--deselect",
    "tests/layers/test_every_layer.py::test_saved_models_go_on_in_another_process",
    "--deselect",  # they take long on JAX, and Keras does the same for all backends
    "tests/layers/test_every_layer.py::test_shapes_and_dtypes_are_known_without_values",
    "--deselect",
    "tests/layers/test_every_layer.py::test_every_dtype_policy",
    "--deselect",  # it follows from the golden logits, which are compared
    "tests/weights/test_manifest.py::test_the_accuracy_is_that_of_the_manifest",
]
JAX_COMPILES_LONG = [
    "cifar_zoo/layers/trivial_augment.py::cifar_zoo.layers.trivial_augment.TrivialAugmentWide",
    "tests/layers/test_augmentation.py::test_pixels_as_integers[TrivialAugmentWide]",
    "tests/layers/test_augmentation.py::test_trivial_augment_fills",
    "tests/layers/test_augmentation.py::test_trivial_augment_makes_what_pillow_makes",
    "tests/layers/test_every_layer.py::test_inference_is_deterministic",
    "tests/layers/test_normalization.py::test_batch_normalization_is_that_of_keras",  # on JAX it is that of Keras
    "tests/training/test_finetune.py::test_a_run_stopped_for_time_goes_on",
    "tests/training/test_sharpness.py::test_both_passes_see_the_same_and_the_first_one_counts[None]",
    *(
        f"tests/weights/test_manifest.py::test_golden_logits[{name}-{tag}]"
        for name, tags in read_manifest().items()
        for tag, entry in tags.items()
        if entry.params > 3.5e5
    ),
]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "0"]
ALL = ["cifar_zoo/layers", "tests", "--ignore", "tests/test_backends.py"]


def run_with(backend, full, deselected=()):
    """Run the tests with another backend, in a process of its own."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'cifar-zoo[{backend}]'")
    options = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiles faster
    done = subprocess.run(
        [*PYTEST, *(ALL if full else [*QUICK, *(word for test in deselected for word in ("--deselect", test))])],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, **options},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]


class TestOnJax:  # in a class of its own, so that another worker takes the next one
    def test_all(self, request):
        run_with("jax", request.config.getoption("--full"), JAX_COMPILES_LONG)


class TestOnTorch:
    def test_all(self, request):
        run_with("torch", request.config.getoption("--full"))
