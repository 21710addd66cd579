"""How many ReLUs of an AlexNet are dead, and what tanh and a smaller network change.

    python examples/dead_relus.py

"Tweaking the AlexNet", the note from which original_alexnet, tanh_alexnet and small_alexnet come, looks at the
activations of the last hidden layer over a training. This script trains the three networks for a few epochs with the
recipe of the note (`paper`). For each layer it prints how many of its units are zero for all of 1,000 test images: in
the untrained network, after these epochs, and with the published weights, which have a recipe of their own. For tanh,
which is never exactly zero, it prints how many values are saturated (beyond 0.99 in magnitude). dead_relus.svg has the
histograms of the last hidden layer after each epoch.

Needs `pip install 'cifar-zoo[examples]'`, and CIFAR-10 from --data, CIFAR_ZOO_DATA or the Keras cache, or by download.
"""

import argparse
import json
from pathlib import Path

import keras
import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

import cifar_zoo
from cifar_zoo.evaluation.inspection import dead_relus, outputs_of
from cifar_zoo.training.callbacks.activation_histograms import ActivationHistograms
from cifar_zoo.training.recipes import find_recipe

NETWORKS = "original_alexnet", "tanh_alexnet", "small_alexnet"
LAYER = "dense2"  # the last hidden one


def main() -> None:
    """Train the three networks of the note and look at their activations."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each training (default: %(default)s)")
    parser.add_argument("--examples", type=int, help="train on so many images only (default: all)")
    parser.add_argument("--data", help="path of CIFAR-10: an .npz file, folder or archive")
    parser.add_argument("--output", type=Path, default=Path("dead_relus"), help="folder (default: %(default)s)")
    args = parser.parse_args()
    try:
        data = cifar_zoo.load_cifar10(args.data)
        images = data[1][0][:1000]
        figures, histograms = {}, {}
        for name in args.networks:
            keras.utils.set_random_seed(0)
            model = cifar_zoo.create_model(name)
            found = {"untrained": units(model, images)}
            low = -1.0 if name == "tanh_alexnet" else 0.0
            histograms[name] = ActivationHistograms(model, LAYER, images, (low, 1.0 if low else 3.0), 60)
            cifar_zoo.fit_cifar10(
                model,
                find_recipe("paper", name).with_(epochs=args.epochs),
                data=data,
                examples=args.examples,
                run_dir=args.output / name,
                callbacks=[histograms[name]],
                verbose=0,
            )
            found[f"after {args.epochs} epochs"] = units(model, images)
            if name in cifar_zoo.list_models(pretrained=True):
                found["published"] = units(cifar_zoo.create_model(name, weights="cifar10"), images)
            figures[name] = found
            show(name, found)
    except cifar_zoo.CifarZooError as error:
        parser.error(str(error))
    (args.output / "dead_relus.json").write_text(json.dumps(figures, indent=2) + "\n")
    plot(histograms, args.output / "dead_relus.svg")


def units(model: keras.Model, images: np.ndarray) -> dict[str, dict[str, float]]:
    """For each layer the fraction of its units that are dead and of its values that are zero, or saturated."""
    tanh = [layer.name for layer in model.layers if getattr(layer, "activation", None) is keras.activations.tanh]
    if not tanh:
        facts = dead_relus(model, images)
        return {row.layer: {"units": row.units, "dead": row.dead / row.units, "zeros": row.zeros} for row in facts}
    saturated = {name: [] for name in tanh}
    for parts in outputs_of(model, tanh, images):
        for name, part in zip(tanh, parts, strict=True):
            saturated[name].append((np.abs(part) > 0.99).mean(axis=tuple(range(1, part.ndim))))
    return {name: {"saturated": float(np.concatenate(shares).mean())} for name, shares in saturated.items()}


def show(name: str, found: dict) -> None:
    """Print a table with a row for each layer."""
    print(name)
    for layer in next(iter(found.values())):
        cells = []
        for when, layers in found.items():
            row = layers[layer]
            values = (f"{key} {row[key]:6.1%}" for key in ("dead", "zeros", "saturated") if key in row)
            cells.append(f"{when}: {', '.join(values)}")
        print(f"  {layer:8s} {'   '.join(cells)}", flush=True)


def plot(histograms: dict[str, ActivationHistograms], path: Path) -> None:
    """Draw the histograms of the last hidden layer, one line for each epoch."""
    figure, axes = pyplot.subplots(1, len(histograms), figsize=(4.5 * len(histograms), 3.5), layout="constrained")
    for axis, (name, found) in zip(np.atleast_1d(axes), histograms.items(), strict=True):
        middle = (found.edges[:-1] + found.edges[1:]) / 2
        for epoch, counts in enumerate(found.counts):
            shade = pyplot.colormaps["viridis"](epoch / len(found.counts))
            axis.semilogy(middle, np.maximum(counts, 0.5), color=shade, label=f"epoch {epoch}")
        axis.set(title=name, xlabel=f"activation of {LAYER}", ylabel="values")
        axis.legend(fontsize=7)
    figure.savefig(path)


if __name__ == "__main__":
    main()
