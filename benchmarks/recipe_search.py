"""Collect the accuracy of recipes on held-out images, by which the recipes of the zoo were chosen.

    cifar-zoo fit alex4 --epochs 24 --holdout 5000 --set label_smoothing=0.1 --run-dir runs/smoothed
    python benchmarks/recipe_search.py runs/smoothed --json results/recipe_search.json

Each run trained on the other 45,000 images; the test images were not used. docs/results.md has the table.
"""

import argparse
from pathlib import Path

from cifar_zoo.files import read_json, write_json

HELD_OUT = 5_000


def main():
    """Append finished runs to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--json", type=Path, required=True, help="file to append to")
    arguments = parser.parse_args()

    report = read_json(arguments.json) if arguments.json.exists() else {"held_out": HELD_OUT, "runs": []}
    for run in arguments.runs:
        config, metrics = read_json(run / "config.json"), read_json(run / "metrics.json")
        if config["holdout"] != HELD_OUT or config["evaluate_test"]:
            parser.error(f"{run} must hold out {HELD_OUT} images and leave the test images alone")
        report["runs"].append(
            {
                "network": config["model"],
                "recipe": config["recipe"],
                "seed": config["seed"],
                "accuracy": metrics["holdout_accuracy"],
                **{name: metrics[name] for name in ("minutes", "backend", "hardware", "versions", "commit")},
            }
        )
    write_json(arguments.json, report)


if __name__ == "__main__":
    main()
