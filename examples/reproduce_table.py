"""Train the networks of the published tables, one after another, and print their accuracies beside the published ones.

    python examples/reproduce_table.py --rows squeeze1,alex4 --epochs 2
    python examples/reproduce_table.py --seeds 0,1,2 --budget-minutes 600

After Ctrl-C, a crash or the end of the budget, the same command continues: finished rows are skipped, and an
interrupted run resumes within its epoch. Without --rows all networks are trained, the cheapest first; without --epochs
each is trained for the number of epochs of its recipe. Two epochs of squeeze1 and alex4 take about two minutes on 2 CPU
cores with AMX.
"""

import argparse
import time
from pathlib import Path

import keras

from cifar_zoo import CifarZooError, fit_cifar10, list_models
from cifar_zoo.evaluation.costs import layer_table
from cifar_zoo.files import read_history
from cifar_zoo.results import as_text, pack, read_records, table
from cifar_zoo.training.recipes import find_recipe


def cost(name):
    """Multiply-adds of a network for one image."""
    return sum(layer.multiply_adds for layer in layer_table(name))


def duration(run_dir):
    """The number of epochs that a run has finished, and the minutes they took."""
    history = run_dir / "history.csv"
    rows = read_history(history) if history.exists() else []
    return len(rows), rows[-1]["seconds"] / 60 if rows else 0.0


def main():
    """Train the unfinished runs, then print the table and the runs that are still unfinished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="names of networks, separated by commas (default: all)")
    parser.add_argument("--recipe", default="zoo", help="zoo, or paper for the published one")
    parser.add_argument("--epochs", type=int, help="number of epochs instead of the recipe's")
    parser.add_argument("--seeds", default="0", help="seeds, separated by commas")
    parser.add_argument("--budget-minutes", type=float, help="stop with a checkpoint before this time is over")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run directories")
    arguments = parser.parse_args()

    started = time.monotonic()
    names = arguments.rows.split(",") if arguments.rows else sorted(list_models(), key=cost)
    recipes = {name: find_recipe(arguments.recipe, name) for name in names}
    epochs = {name: arguments.epochs or recipe.epochs for name, recipe in recipes.items()}
    tag = arguments.recipe if arguments.epochs is None else f"{arguments.recipe}-{arguments.epochs}-epochs"
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    jobs = {arguments.runs / f"{name}-{tag}-{seed}": (name, seed) for name in names for seed in seeds}
    left, failed = [], []
    for run_dir, (name, seed) in jobs.items():
        minutes = arguments.budget_minutes and arguments.budget_minutes - (time.monotonic() - started) / 60
        if minutes is not None and minutes <= 0:
            left.append(run_dir)
            continue
        print(f"{name}, seed {seed}", flush=True)
        keras.backend.clear_session()
        try:
            run = fit_cifar10(
                name, arguments.recipe, epochs=arguments.epochs, seed=seed, run_dir=run_dir, max_minutes=minutes
            )
        except CifarZooError as error:
            print(f"{name}, seed {seed}: {error}")
            failed.append(run_dir)
            continue
        if run.finished:
            pack(run_dir, arguments.runs / "results", tag)
        else:
            left.append(run_dir)

    results = [result for result in read_records(arguments.runs / "results").values() if result.tag == tag]
    print(as_text(table(results, names)))
    # The minutes of a network that has not started are estimated from the time per multiply-add of the others.
    spent = {run_dir: duration(run_dir) for run_dir in jobs}
    operations = sum(done * cost(jobs[run_dir][0]) for run_dir, (done, _) in spent.items() if done)
    pace = sum(minutes for _, minutes in spent.values()) / operations if operations else None
    for run_dir in left:
        name, seed = jobs[run_dir]
        done, minutes = spent[run_dir]
        each = minutes / done if done else pace and pace * cost(name)
        guess = "an unknown time" if each is None else f"about {each * (epochs[name] - done):.0f} minutes"
        print(f"left: {name}, seed {seed}: {epochs[name] - done} of {epochs[name]} epochs, {guess}")
    for run_dir in failed:
        print(f"failed: {jobs[run_dir][0]}, seed {jobs[run_dir][1]}")


if __name__ == "__main__":
    main()
