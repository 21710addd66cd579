"""Accuracy of a recipe on held-out images, by which the recipes of the zoo were chosen.

    python benchmarks/recipe_search.py alex4 --epochs 24 --set label_smoothing=0.1 --json results/recipe_search.json

The script trains on 45,000 images, measures the other 5,000 after the last epoch, and appends the result to the file;
the test images are not used. docs/results.md has the table.
"""

import argparse
import os
import tempfile
from pathlib import Path

from cifar_zoo import fit_cifar10, load_cifar10
from cifar_zoo.files import read_json, write_json
from cifar_zoo.training.recipes import find_recipe

HELD_OUT = 5_000


def main():
    """Train once and append the result to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--recipe", default="zoo", help="recipe to start from")
    parser.add_argument("--epochs", type=int, required=True, help="number of epochs, to which the recipe is rescaled")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True, help="file to append to")
    arguments = parser.parse_args()

    recipe = find_recipe(arguments.recipe, arguments.network).for_epochs(arguments.epochs)
    recipe = recipe.with_settings(arguments.settings)
    (x, y), _ = load_cifar10(os.environ.get("CIFAR_ZOO_DATA"))
    data = (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])
    with tempfile.TemporaryDirectory() as folder:
        run = fit_cifar10(arguments.network, recipe, data=data, seed=arguments.seed, run_dir=Path(folder) / "run")
    report = read_json(arguments.json) if arguments.json.exists() else {"held_out": HELD_OUT, "runs": []}
    report["runs"].append(
        {
            "network": arguments.network,
            "recipe": recipe.to_dict(),
            "seed": arguments.seed,
            "accuracy": run.metrics["test_accuracy"],
            **{name: run.metrics[name] for name in ("minutes", "backend", "hardware", "versions", "commit")},
        }
    )
    write_json(arguments.json, report)


if __name__ == "__main__":
    main()
