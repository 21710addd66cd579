"""Compress pretrained networks: prune them while they are fine-tuned, then compute in 8-bit integers.

    python examples/compress.py squeeze1 alex4

For each network and sparsity the published weights are trained further, while the smallest entries of the kernels
become zero (the recipe field `sparsity`), and the result is exported to ONNX in float32 and in int8. The table has the
accuracy on the test images, measured once after the last epoch, and the size of the ONNX file compressed by LZMA, which
is what sparsity saves. The dense network is the published one, without further training. The recipe is the network's
`zoo`, shortened, with half of its learning rate.

Needs `pip install 'cifar-zoo[onnx,examples]'`, and CIFAR-10 from --data, CIFAR_ZOO_DATA or the Keras cache, or by
download. Everything goes to --output: one run directory a training, the ONNX files, compress.json and compress.svg. An
interrupted run resumes when the same command is run again.
"""

import argparse
import json
import lzma
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

import cifar_zoo
from cifar_zoo.training.recipes import find_recipe


def main() -> None:
    """Prune and quantize networks of the zoo."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("networks", nargs="+", help="networks with published weights")
    parser.add_argument(
        "--sparsities", default="0.5,0.8,0.9", help="fractions of the weights that become zero (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=12, help="epochs of each training (default: %(default)s)")
    parser.add_argument("--examples", type=int, help="train on so many images only (default: all)")
    parser.add_argument("--data", help="path of CIFAR-10: an .npz file, folder or archive")
    parser.add_argument("--output", type=Path, default=Path("compressed"), help="folder (default: %(default)s)")
    args = parser.parse_args()
    try:
        sparsities = [float(sparsity) for sparsity in args.sparsities.split(",")]
        data = cifar_zoo.load_cifar10(args.data)
        args.output.mkdir(parents=True, exist_ok=True)
        rows = []
        for name in args.networks:
            for sparsity in [0.0, *sparsities]:
                rows.append(compress(name, sparsity, data, args))
                print("{network:<16s} sparsity {sparsity:4.2f}".format(**rows[-1]), end="")
                for kind in ("float32", "int8"):
                    figures = rows[-1][kind]
                    print(f"   {kind}: {figures['accuracy']:.2%}, {figures['compressed'] / 1e3:.0f} kB", end="")
                print(flush=True)
    except (cifar_zoo.CifarZooError, ValueError) as error:
        parser.error(str(error))
    (args.output / "compress.json").write_text(json.dumps(rows, indent=2) + "\n")
    plot(rows, args.output / "compress.svg")


def compress(name: str, sparsity: float, data, args) -> dict:
    """Prune a network by training it further, and export it in float32 and int8."""
    model = cifar_zoo.create_model(name, weights="cifar10")
    if sparsity:
        recipe = find_recipe("zoo", name).for_epochs(args.epochs)
        recipe = recipe.with_(sparsity=sparsity, learning_rate=recipe.learning_rate / 2)
        directory = args.output / f"{name}-{sparsity}"
        cifar_zoo.fit_cifar10(model, recipe, data=data, examples=args.examples, run_dir=directory, verbose=0)
    files = {kind: args.output / f"{name}-{sparsity}.{kind}.onnx" for kind in ("float32", "int8")}
    cifar_zoo.export(model, files["float32"])
    # Both accuracies are measured here, and reported whatever they are.
    figures = cifar_zoo.export(model, files["int8"], int8=True, data=data, force=True)
    accuracies = {"float32": figures["accuracy"], "int8": figures["int8_accuracy"]}
    row = {"network": name, "sparsity": sparsity}
    for kind, file in files.items():
        content = file.read_bytes()
        row[kind] = {
            "accuracy": accuracies[kind],
            "bytes": len(content),
            "compressed": len(lzma.compress(content)),
        }
    return row


def plot(rows: list[dict], file: Path) -> None:
    """Draw accuracy against compressed size, one line a network and kind, with the sparsities beside the points."""
    _, axes = pyplot.subplots(figsize=(8, 4.5))
    for name in dict.fromkeys(row["network"] for row in rows):
        for kind, style in (("float32", "o-"), ("int8", "s--")):
            points = [(row[kind], row["sparsity"]) for row in rows if row["network"] == name]
            sizes = [figures["compressed"] / 1e3 for figures, _ in points]
            accuracies = [100 * figures["accuracy"] for figures, _ in points]
            axes.plot(sizes, accuracies, style, label=f"{name}, {kind}")
            for size, accuracy, (_, sparsity) in zip(sizes, accuracies, points, strict=True):
                axes.annotate(f" {sparsity:.0%}", (size, accuracy))
    axes.set(xscale="log", xlabel="compressed size, kB", ylabel="test accuracy, %")
    axes.legend()
    pyplot.savefig(file, bbox_inches="tight")
    pyplot.close()


if __name__ == "__main__":
    main()
