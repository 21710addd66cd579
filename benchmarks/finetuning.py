"""How accurate `cifar_zoo.finetune` is on images of other kinds, and how long it takes.

    python benchmarks/finetuning.py --json results/finetuning.json
    python benchmarks/finetuning.py squeeze1 --sets digits --seeds 0

All images come with scikit-learn and scikit-image:

- digits: 1,797 handwritten digits of 8x8 pixels, ten classes, not mirrored;
- faces: 200 gray photographs of 25x25 pixels, half of them of faces (a subset of Labeled Faces in the Wild);
- crops: 354 crops of 48x48 pixels of four photographs, which do not overlap, one class for each photograph.

A part of the images, drawn by the seed, is kept for the test and takes no part in the choice of the epoch.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from skimage import data as photographs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cifar_zoo
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.data.images import resized, side_for


def digits():
    """Images and labels of the handwritten digits."""
    data = load_digits()
    return np.uint8(data.images * 255 / 16), data.target


def faces():
    """Images and labels of faces, 0, and of other things, 1."""
    return np.uint8(np.round(photographs.lfw_subset() * 255)), np.repeat([0, 1], 100)


def crops(side=48):
    """Square crops of photographs, labeled by the photograph."""
    images, labels = [], []
    for label, name in enumerate(("astronaut", "chelsea", "coffee", "rocket")):
        photograph = getattr(photographs, name)()
        for row, column in np.ndindex(photograph.shape[0] // side, photograph.shape[1] // side):
            images.append(photograph[side * row : side * (row + 1), side * column : side * (column + 1)])
            labels.append(label)
    return np.stack(images), np.array(labels)


# The images, the fraction of them to test, and the options of `finetune`.
SETS = {"digits": (digits, 0.2, {"flip": False}), "faces": (faces, 0.3, {}), "crops": (crops, 0.3, {})}


def measure(network, name, seed):
    """The figures of one run."""
    load, fraction, options = SETS[name]
    images, labels = load()
    x, x_test, y, y_test = train_test_split(images, labels, test_size=fraction, stratify=labels, random_state=seed)
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = cifar_zoo.finetune(network, (x, y), run_dir=Path(folder) / "run", seed=seed, verbose=0, **options)
        seconds = time.perf_counter() - started
    test = cifar_zoo.evaluate(run.model, (resized(x_test, side_for(run.model.input_shape[1:])), y_test))
    return {
        "set": name,
        "network": network,
        "seed": seed,
        "train": len(x) - run.metrics["holdout_images"],
        "held_out": run.metrics["holdout_images"],
        "test": test["images"],
        "classes": int(labels.max()) + 1,
        "holdout_accuracy": run.metrics["holdout_accuracy"],
        "test_accuracy": test["accuracy"],
        "epochs": run.metrics["epochs"],
        "best_epoch": run.metrics["best_epoch"],
        "seconds": round(seconds, 1),
    }


def main():
    """Measure and print each run, and write all of them to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet20", help="a registered name (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    runs = []
    for name in arguments.sets:
        for seed in arguments.seeds:
            runs.append(measure(arguments.network, name, seed))
            print(json.dumps(runs[-1]), flush=True)
            if arguments.json is not None:
                report = {"environment": describe_environment(), "runs": runs}
                arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
