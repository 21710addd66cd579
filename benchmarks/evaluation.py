"""What the published networks are worth beside their accuracy: calibration, corrupted images, unknown images, people.

    python benchmarks/evaluation.py --json results/evaluation.json
    python benchmarks/evaluation.py resnet20 squeeze1 --human cifar10h-probs.npy --json results/evaluation.json

For each network, with its best weights:

- on the 10,000 test images what `cifar_zoo.evaluate` returns: accuracy, NLL, Brier score, calibration errors;
- on the first 2,000 test images the accuracy under the 15 corruptions of CIFAR-10-C at five severities, made by
  `cifar_zoo.evaluation.corruptions`, or read from the published files with --corruptions;
- how well it tells the test images from scikit-learn's handwritten digits and from uniform noise, by three scores;
- with --human, how its probabilities agree with the answers of people (CIFAR-10H).

Networks that the file holds with the same weights are skipped, so an interrupted run goes on. Unlike those of a speed
benchmark, the figures do not depend on what else the machine does.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import cifar_zoo
from cifar_zoo.backend.environment import describe_environment
from cifar_zoo.evaluation.ood import detect_unknown
from cifar_zoo.evaluation.robustness import corruption_accuracies
from cifar_zoo.weights.store import find_entry

CORRUPTED = 2_000  # test images
NEIGHBORS = 10_000  # training images


def unknown_images():
    """Images that show no class of CIFAR-10: all 1,797 digits, enlarged to 32x32, and as many of uniform noise."""
    digits = (load_digits().images * (255 / 16)).astype("uint8")
    digits = np.repeat(np.kron(digits, np.ones((1, 4, 4), "uint8"))[..., None], 3, axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, digits.shape, dtype="uint8")
    return {"digits": digits, "noise": noise}


def measure(name, data, human, corruptions):
    """The figures of one network."""
    (x_train, _), (x, y) = data
    model = cifar_zoo.create_model(name, weights="cifar10")
    source = corruptions and {"source": corruptions}
    return {
        "network": name,
        "sha256": find_entry(name, "cifar10").sha256,
        **cifar_zoo.evaluate(model, data, human=human),
        "unknown": {
            kind: detect_unknown(model, x, images, x_train[:NEIGHBORS]) for kind, images in unknown_images().items()
        },
        "corruptions": corruption_accuracies(model, x[:CORRUPTED], y[:CORRUPTED], **(source or {})),
    }


def main():
    """Measure, print, and write the figures to the file after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="registered names; default: all with weights")
    parser.add_argument("--data", help="path of CIFAR-10: an .npz file, folder or archive")
    parser.add_argument("--human", help="path of cifar10h-probs.npy")
    parser.add_argument("--corruptions", help="folder of the published CIFAR-10-C")
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    arguments = parser.parse_args()
    data = cifar_zoo.load_cifar10(arguments.data)
    done = json.loads(arguments.json.read_text())["networks"] if arguments.json.exists() else []
    for name in arguments.networks or cifar_zoo.list_models(pretrained=True):
        sha256 = find_entry(name, "cifar10").sha256
        if any(figures["sha256"] == sha256 for figures in done):
            continue
        figures = measure(name, data, arguments.human, arguments.corruptions)
        others = [other for other in done if other["network"] != name]
        done = sorted([*others, figures], key=lambda figures: figures["network"])
        partial = arguments.json.with_suffix(".tmp")
        partial.write_text(json.dumps({"environment": describe_environment(), "networks": done}, indent=1) + "\n")
        partial.replace(arguments.json)  # whole at any time
        print(
            f"{name}: accuracy {figures['accuracy']:.2%}, ECE {figures['ece']:.2%}, corrupted "
            f"{figures['corruptions']['mean_accuracy']:.2%}, AUROC {figures['unknown']['digits']['knn']['auroc']:.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
