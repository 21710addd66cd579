"""Attack a pretrained network with small changes of the pixels: its robust accuracy against their size.

    python examples/attack.py resnet20

FGSM (Goodfellow et al. 2015, arXiv:1412.6572) and PGD (Madry et al. 2018, arXiv:1706.06083), by foolbox, use the
gradients of the network. No pixel changes by more than epsilon (L-infinity; in 0..255, so that 8 is the usual 8/255).
Networks that were trained on clean images have nearly no robust accuracy at 8: only adversarial training gives it. A
figure from attacks like these is an upper bound.

Needs `pip install 'cifar-zoo[examples]' foolbox`, the TensorFlow or the PyTorch backend, and CIFAR-10 from --data,
CIFAR_ZOO_DATA or the Keras cache, or by download. attack.json and attack.svg go to --output.
"""

import argparse
import json
from pathlib import Path

import foolbox
import keras
import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

import cifar_zoo
from cifar_zoo.data.images import center_crop


def main() -> None:
    """Measure the accuracy of a network under attack."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("network", help="a network with published weights")
    parser.add_argument("--images", type=int, default=500, help="number of test images (default: %(default)s)")
    parser.add_argument("--epsilons", default="0,0.5,1,2,4,8", help="sizes of the changes (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps of PGD (default: %(default)s)")
    parser.add_argument("--data", help="path of CIFAR-10: an .npz file, folder or archive")
    parser.add_argument("--output", type=Path, default=Path("attack"), help="folder (default: %(default)s)")
    args = parser.parse_args()
    try:
        epsilons = [float(epsilon) for epsilon in args.epsilons.split(",")]
        _, (x, y) = cifar_zoo.load_cifar10(args.data)
        model = cifar_zoo.create_model(args.network, weights="cifar10", classifier_activation=None)
    except (cifar_zoo.CifarZooError, ValueError) as error:
        parser.error(str(error))
    x, y = x[: args.images], y[: args.images].astype("int64")
    x = center_crop(x, *model.input_shape[1:3]).astype("float32")
    target, to_tensor = for_foolbox(model)
    attacks = {
        "FGSM": foolbox.attacks.LinfFastGradientAttack(),
        f"PGD, {args.steps} steps": foolbox.attacks.LinfPGD(rel_stepsize=2.5 / args.steps, steps=args.steps),
    }
    accuracy = {name: [] for name in attacks}
    for name, attack in attacks.items():
        for epsilon in epsilons:
            right = []
            for start in range(0, len(x), 100):
                images, labels = to_tensor(x[start : start + 100], y[start : start + 100])
                _, changed, fooled = attack(target, images, labels, epsilons=epsilon)
                assert np.abs(np.asarray(changed) - np.asarray(images)).max() <= epsilon + 1e-3
                right.append(~np.asarray(fooled))
            accuracy[name].append(float(np.concatenate(right).mean()))
        figures = (f"{epsilon:g}: {share:.1%}" for epsilon, share in zip(epsilons, accuracy[name], strict=True))
        print(f"{name:14s}", "  ".join(figures), flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    result = {"network": args.network, "images": len(x), "epsilons": epsilons, "accuracy": accuracy}
    (args.output / "attack.json").write_text(json.dumps(result, indent=2) + "\n")
    figure, axis = pyplot.subplots(figsize=(5, 3.6), layout="constrained")
    for name, values in accuracy.items():
        axis.plot(epsilons, 100 * np.array(values), "o-", label=name)
    axis.set(xlabel="epsilon, in pixels 0..255", ylabel="robust accuracy, %", ylim=(0, 100), title=args.network)
    axis.legend()
    figure.savefig(args.output / "attack.svg")


def for_foolbox(model: keras.Model):
    """Return the network as foolbox takes it, and a function that makes tensors of images and labels."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
        return foolbox.TensorFlowModel(compiled, (0, 255), device="/CPU:0"), lambda *arrays: map(tf.constant, arrays)
    if backend == "torch":
        import torch

        device = keras.ops.zeros(1).device
        return (
            foolbox.PyTorchModel(model.eval(), (0, 255), device=device),
            lambda *arrays: (torch.from_numpy(array).to(device) for array in arrays),
        )
    raise SystemExit(f"foolbox does not know the backend {backend}; set KERAS_BACKEND to tensorflow or torch")


if __name__ == "__main__":
    main()
