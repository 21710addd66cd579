"""Minutes to 94 % on CIFAR-10: `airbench94` with the recipe "fast", and the same training in plain PyTorch.

    python benchmarks/to_94.py --seeds 0,1,2 --json results/to_94.json
    python benchmarks/to_94.py --seeds 0 --backends tensorflow,jax,torch --epochs 3 --data a_part.npz

For each seed the script runs `airbench_in_torch.py` and then `cifar-zoo fit airbench94 --recipe fast` with each
backend, each in a process of its own. "Training" lasts from the first access to the images to the end of the last step;
that of the zoo includes compilation and checkpoints. "Total" is the whole process, with imports, data, the batch-norm
statistics of the averaged weights, and the evaluation of the test images, which the zoo does in float32 with the
rounded weights of the file. Steps/s are the median over the epochs after the first. Runs that are already in the file
are skipped.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.files import read_json, write_json

HERE = Path(__file__).resolve().parent
BATCH = 1024


def timed(command, **environment):
    """Run a Python process; return the last line of its output, parsed as JSON, and its wall time in seconds."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, env=os.environ | environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - start


def median_after_first(epochs):
    """The median over all epochs after the first, or the only epoch."""
    return statistics.median(epochs[1:] or epochs)


def in_torch(seed, epochs, data):
    """Train in plain PyTorch and return the figures."""
    command = [HERE / "airbench_in_torch.py", "--data", data, "--seed", seed, "--epochs", epochs]
    report, seconds = timed(command)
    return {
        "accuracy": report["accuracy"],
        "tta_accuracy": report["tta_accuracy"],
        "training_seconds": report["seconds"],
        "seconds": seconds,
        "steps_per_second": report["steps"] / epochs / median_after_first(report["epoch_seconds"]),
    }


def in_keras(backend, seed, epochs, data, runs):
    """Train with the zoo and one backend, in a run directory in `runs`, and return the figures."""
    run = runs / f"airbench94-{backend}-{seed}"
    command = ["-m", "cifar_zoo", "fit", "airbench94", "--recipe", "fast", "--epochs", epochs, "--seed", seed]
    command += ["--data", data, "--run-dir", run, "--no-resume", "--json"]
    report, seconds = timed(command, KERAS_BACKEND=backend)
    with (run / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    return {
        "accuracy": report["test_accuracy"],
        "tta_accuracy": report["test_tta_accuracy"],
        "training_seconds": float(history[-1]["seconds"]),
        "seconds": seconds,
        "steps_per_second": median_after_first([float(row["images_per_second"]) for row in history]) / BATCH,
    }


def mean(runs, field):
    """The mean of a field over runs."""
    return statistics.mean(run[field] for run in runs)


def main():
    """Train what the file does not contain yet, write the file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--backends", default="tensorflow", help="separated by commas")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--data", default=os.environ.get("CIFAR_ZOO_DATA"), help=".npz file of CIFAR-10")
    parser.add_argument("--runs", type=Path, help="folder in which to keep the run directories of the zoo")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    if not arguments.data:
        parser.error("--data or CIFAR_ZOO_DATA must name an .npz file of CIFAR-10")

    folder = arguments.runs or Path(tempfile.mkdtemp())
    report = read_json(arguments.json) if arguments.json and arguments.json.exists() else {"runs": {}}
    if report.setdefault("epochs", arguments.epochs) != arguments.epochs:
        parser.error(f"{arguments.json} has runs of {report['epochs']} epochs")
    with np.load(arguments.data) as arrays:
        examples = len(arrays["y_train"])
    if report.setdefault("examples", examples) != examples:
        parser.error(f"{arguments.json} has runs with {report['examples']} training images, not {examples}")
    runs = {name: report["runs"].get(name, []) for name in ("plain PyTorch", *arguments.backends.split(","))}
    report |= {"runs": runs, "environment": describe_environment()}
    for seed in map(int, arguments.seeds.split(",")):
        for name, own in runs.items():
            if seed in [run["seed"] for run in own]:
                continue
            if name == "plain PyTorch":
                run = in_torch(seed, arguments.epochs, arguments.data)
            else:
                run = in_keras(name, seed, arguments.epochs, arguments.data, folder)
            own.append({"seed": seed, **run})
            print(f"{name}, seed {seed}: {json.dumps(run)}", file=sys.stderr, flush=True)
            if arguments.json:
                write_json(arguments.json, report)

    print(f"{'':14} plain %  with TTA %  training min       total min  steps/s  time / PyTorch's")
    for name, own in runs.items():
        print(
            f"{name:14} {100 * mean(own, 'accuracy'):7.2f}  {100 * mean(own, 'tta_accuracy'):10.2f}  "
            f"{mean(own, 'training_seconds') / 60:12.2f}  {mean(own, 'seconds') / 60:14.2f}  "
            f"{mean(own, 'steps_per_second'):7.3f}  "
            f"{mean(own, 'training_seconds') / mean(runs['plain PyTorch'], 'training_seconds'):9.2f} training, "
            f"{mean(own, 'seconds') / mean(runs['plain PyTorch'], 'seconds'):.2f} total"
        )


if __name__ == "__main__":
    main()
