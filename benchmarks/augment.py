"""The cost of augmentation: training steps of a network without and with it, and each layer alone.

    KERAS_BACKEND=jax python benchmarks/augment.py --network resnet18 --batch 128 --steps 20 --json augment.json

Steps (forward, backward, SGD; bfloat16 where the hardware supports it) without and with augmentation alternate, so that
other load on the machine affects all of them alike. The added share is the median over the rounds. On a shared machine,
where a step takes seconds, the time of the layers alone divided by that of the step is more precise; it is shown, too.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np

from cifar_zoo import create_model, layers
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.backend.precision import hardware_precision
from cifar_zoo.training.network import computing_in
from cifar_zoo.training.optimizers import SGD
from cifar_zoo.training.trainer import Trainer

LAYERS = {
    "RandomCrop": lambda: layers.RandomCrop(32, 32, padding=4),
    "RandomFlip": lambda: layers.RandomFlip(),
    "AlternatingFlip": lambda: layers.AlternatingFlip(steps_per_epoch=390),
    "RandomAffine": lambda: layers.RandomAffine(rotation=15, shift=0.1, shear=0.1, zoom=0.1),
    "Cutout": lambda: layers.Cutout(16),
    "RandomBrightness": lambda: layers.RandomBrightness(63),
    "RandomContrast": lambda: layers.RandomContrast(0.2, 1.8),
    "TrivialAugmentWide": lambda: layers.TrivialAugmentWide(),
}
VARIANTS = {
    "none": [],
    "standard": ["RandomCrop", "RandomFlip", "RandomAffine", "Cutout"],
    "trivial": ["RandomCrop", "RandomFlip", "TrivialAugmentWide"],
}


class TrainingMode(keras.Model):
    """A layer that does in `predict` what it does in training."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, images):
        return self.layer(images, training=True)


def timed(function):
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def alternate(functions, rounds):
    """Call the functions in turn; return an array (functions, rounds, 2) of wall and CPU seconds."""
    for function in functions:
        function()
        function()  # the first call compiles, and the second may compile again
    return np.array([[timed(function) for function in functions] for _ in range(rounds)]).swapaxes(0, 1)


def layers_alone(images, rounds):
    """Milliseconds of each layer, minus those of a compiled call that does nothing."""

    def compiled(layer):
        model = TrainingMode(layer)
        model.compile()
        return lambda: model.predict_on_batch(images)

    made = [keras.layers.Dropout(0, dtype="uint8"), *(make() for make in LAYERS.values())]
    medians = 1e3 * np.median(alternate([compiled(layer) for layer in made], rounds), axis=1)
    own = (medians[1:] - medians[0]).tolist()
    return {name: {"wall_ms": wall, "cpu_ms": cpu} for name, (wall, cpu) in zip(LAYERS, own, strict=True)}


def training_steps(network, images, labels, rounds, alone):
    """Milliseconds and images/s of a training step of each variant, and the percentage that its augmentation adds."""
    model = create_model(network)
    with computing_in(model, hardware_precision()):
        steps = []
        for names in VARIANTS.values():
            trainer = Trainer(model, [LAYERS[name]() for name in names], 0.0)
            trainer.compile(SGD(1e-3, l2=5e-4))
            steps.append(lambda trainer=trainer: trainer.train_on_batch(images, labels))
        seconds = alternate(steps, rounds)
    results = {}
    for (variant, names), own in zip(VARIANTS.items(), seconds, strict=True):
        wall, cpu = np.median(own, axis=0)
        added_wall, added_cpu = 100 * np.median(own / seconds[0] - 1, axis=0)
        results[variant] = {
            "images_per_second": len(images) / wall,
            "wall_ms": 1e3 * wall,
            "cpu_ms": 1e3 * cpu,
            "added_wall_percent": added_wall,
            "added_cpu_percent": added_cpu,
            "layers_alone_percent": 0.1 * sum(alone[name]["wall_ms"] for name in names) / np.median(seconds[0, :, 0]),
        }
    return results


def show(title, table):
    """Print a table."""
    columns = list(next(iter(table.values())))
    print(f"{title:<20s}" + "".join(f"{column:>22s}" for column in columns))
    for name, row in table.items():
        print(f"{name:<20s}" + "".join(f"{row[column]:22.2f}" for column in columns))


def main():
    """Measure, print the figures, and write them to a file if one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18", help="registered name, or none to measure the layers alone")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="steps of each variant")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (arguments.batch, 32, 32, 3), dtype="uint8")
    labels = random.integers(0, 10, arguments.batch, dtype="uint8")
    environment = describe_environment()
    print(json.dumps(environment))
    alone = layers_alone(images, rounds=50)
    show(f"batch of {arguments.batch}", alone)
    report = {**environment, "batch": arguments.batch, "layers": alone}
    if arguments.network != "none":
        steps = training_steps(arguments.network, images, labels, arguments.steps, alone)
        print()
        show(arguments.network, steps)
        report |= {"network": arguments.network, "precision": hardware_precision(), "steps": steps}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
