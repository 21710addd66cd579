"""Ablation of the recipe "fast": accuracy on held-out images, and epochs to 93 %, without each of its tricks.

    python benchmarks/ablation.py --variants "nothing,alternating flip" --epochs 6,12 --json results/fast_ablation.json

Each variant is trained from scratch for each number of epochs on 45,000 images and measured on the 5,000 held-out
images after the last epoch; the test images are not used. Runs that are already in the file are skipped. docs/fast.md
shows the number of epochs at which the line through the runs of a variant crosses 93 %.
"""

import argparse
import os
import tempfile
from pathlib import Path

import keras

from cifar_zoo import create_model, fit_cifar10, layers, load_cifar10
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.files import read_json, write_json
from cifar_zoo.training.recipes import find_recipe

HELD_OUT = 5_000


def with_layers(change):
    """`airbench94` with some layers replaced: `change(layer)` returns the new layer, or None to keep the old one."""
    plain = create_model("airbench94")
    return keras.models.clone_model(
        plain, clone_function=lambda layer: change(layer) or type(layer).from_config(layer.get_config())
    )


def trained_stem(layer):
    """Replace the whitening layer by an ordinary convolution."""
    if isinstance(layer, layers.PatchWhitening):
        return keras.layers.Conv2D(2 * layer.size**2 * 3, layer.size, name=layer.name)
    return None


def random_start(layer):
    """Replace the identity initialization of kernels by a random one."""
    if isinstance(layer, layers.Conv2D):
        initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        return layers.Conv2D.from_config({**layer.get_config(), "kernel_initializer": initializer})
    return None


FAST, FAST_MUON = (find_recipe(name, "airbench94").to_dict() for name in ("fast", "fast_muon"))

# What is left out -> the function that changes layers, or None, and the fields of the recipe that change.
VARIANTS = {
    "nothing": (None, {}),
    "whitening": (trained_stem, {}),
    "identity at the start": (random_start, {}),
    "learning rate of biases": (None, {"bn_bias_lr_multiplier": 1.0}),
    "lookahead": (None, {"lookahead": 0, "ema_decay": None}),
    "label smoothing": (None, {"label_smoothing": 0.0}),
    "alternating flip": (None, {"alternating_flip": False}),
    "frozen whitening": (None, {"whitening_bias_epochs": None}),
    "SGD (Muon in its place)": (None, {field: value for field, value in FAST_MUON.items() if value != FAST[field]}),
}


def train(variant, epochs, seed, data):
    """Train one variant and return its accuracy on the held-out images."""
    change, settings = VARIANTS[variant]
    keras.utils.set_random_seed(seed)
    model = with_layers(change) if change else create_model("airbench94")
    recipe = find_recipe("fast", "airbench94").with_(test_time_augmentation=False, **settings)
    with tempfile.TemporaryDirectory() as folder:
        run = fit_cifar10(model, recipe, epochs=epochs, data=data, seed=seed, run_dir=Path(folder) / "run")
    return {
        "without": variant,
        "epochs": epochs,
        "seed": seed,
        "accuracy": run.metrics["test_accuracy"],
    }


def main():
    """Train the variants that the file does not contain yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default=",".join(VARIANTS), help="what to leave out, separated by commas")
    parser.add_argument("--epochs", default="6,12", help="separated by commas")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--json", type=Path, required=True, help="file to write, or to continue")
    arguments = parser.parse_args()

    (x, y), _ = load_cifar10(os.environ.get("CIFAR_ZOO_DATA"))
    data = (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])
    report = read_json(arguments.json) if arguments.json.exists() else {"held_out": HELD_OUT, "runs": []}
    report["environment"] = describe_environment()
    done = {(run["without"], run["epochs"], run["seed"]) for run in report["runs"]}
    for seed in map(int, arguments.seeds.split(",")):
        for epochs in map(int, arguments.epochs.split(",")):
            for variant in arguments.variants.split(","):
                if (variant, epochs, seed) not in done:
                    report["runs"].append(train(variant, epochs, seed, data))
                    write_json(arguments.json, report)


if __name__ == "__main__":
    main()
