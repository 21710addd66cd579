"""How long it takes from the start of a command to its first answer or first training step, by part.

    python benchmarks/startup.py --json results/startup.json
    python benchmarks/startup.py resnet20 --backends jax torch --rounds 5 --json startup.json

Each figure is the median over processes that do what `cifar-zoo predict` and `cifar-zoo fit` do, one after another, in
seconds since the part before:

- import: Python, cifar_zoo, Keras and its backend;
- build: the network, with its weights if there are any;
- predict: the first image, for which the network is compiled, and then the same image again;
- data: CIFAR-10 from an .npz file, with its check;
- step: the first step of a training with batches of 128, mostly its compilation.

CIFAR-10 is taken from CIFAR_ZOO_DATA or the Keras cache, or downloaded.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from cifar_zoo.backend.environment import describe_environment

NAMES = "resnet20", "resnet50", "densenet121"
PREDICT = """
clock("import")
published = name in cifar_zoo.list_models(pretrained=True)
model = cifar_zoo.create_model(name, weights="cifar10" if published else None)
clock("build")
for part in ("predict", "predict again"):
    cifar_zoo.predict(model, [numpy.zeros((32, 32, 3), "uint8")])
    clock(part)
"""
FIT = """
clock("import")
import keras
data = cifar_zoo.load_cifar10()
clock("data")
model = cifar_zoo.create_model(name)
clock("build")
first = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batch or clock("step"))
options = {"epochs": 1, "examples": 256, "batch_size": 128, "evaluate_test": False, "verbose": 0}
cifar_zoo.fit_cifar10(model, data=data, run_dir=folder, callbacks=[first], **options)
"""
BEGIN = """
import json, sys, time
started, name, folder = float(sys.argv[1]), *sys.argv[2:]
times = {}
def clock(part):
    times.setdefault(part, time.time() - started - sum(times.values()))
import cifar_zoo, numpy
from cifar_zoo.cli.backend import load_backend
load_backend(training=%s)
"""
END = "\nprint(json.dumps(times))"
CODE = {"predict": BEGIN % False + PREDICT + END, "fit": BEGIN % True + FIT + END}


def measure(command, name, backend):
    """Run one process. Return the seconds of each part, and their sum up to the first answer or step."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", CODE[command], str(time.time()), name, folder],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    times = json.loads(done.stdout.splitlines()[-1])
    return {**times, "total": sum(seconds for part, seconds in times.items() if part != "predict again")}


def main():
    """Measure all networks, commands and backends in rounds, print the medians and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NAMES, help="registered names; default: three sizes")
    parser.add_argument("--backends", nargs="+", default=["tensorflow"], choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    ways = list(product(arguments.networks, arguments.backends, CODE))
    rounds = [[measure(command, name, backend) for name, backend, command in ways] for _ in range(arguments.rounds)]
    rows = []
    for (name, backend, command), times in zip(ways, zip(*rounds, strict=True), strict=True):
        seconds = {part: round(statistics.median(each[part] for each in times), 2) for part in times[0]}
        rows.append({"network": name, "backend": backend, "command": command, "seconds": seconds})
        print(f"{name:26} {backend:10} {command:8}", "  ".join(f"{part} {value}" for part, value in seconds.items()))
    if arguments.json:
        figures = {"environment": describe_environment(), "rounds": arguments.rounds, "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
