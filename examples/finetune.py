"""Fine-tune a pretrained network on a folder of your own images.

    python examples/finetune.py FOLDER

This is how to do it with Keras alone; `cifar_zoo.finetune` does it in one call, with early stopping and checkpoints.

FOLDER has one subfolder per class, with images of any size and format. Without it, scikit-learn's 1,797 handwritten
digits of 8x8 pixels are written to such a folder, which shows how well the features of photographs transfer.

Training has two phases. First only the classifier is trained, on the frozen trunk; then the whole network is trained at
a lower learning rate. Batch norm, if the network has any, is frozen with the trunk in the first phase and adapts its
statistics to the new images in the second.

Needs `pip install 'cifar-zoo[examples]'`. Measured on the digits with 360 of them held out, with TensorFlow on 2 CPU
cores and seeds 0, 1 and 2: 95.0, 93.6 and 94.2 % with the frozen trunk, then 99.4, 99.2 and 99.2 %, in 13 to 18
seconds. With seed 0, JAX takes 33 seconds (99.2 %) and PyTorch 22 (99.2 %).
"""

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cifar_zoo
from cifar_zoo import layers, optimizers, schedules


def main() -> None:
    """Fine-tune a network of the zoo on a folder of images."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", nargs="?", help="one subfolder per class (default: scikit-learn's digits)")
    parser.add_argument("--network", default="squeeze1", help="a network with published weights (default: %(default)s)")
    parser.add_argument(
        "--head-epochs", type=int, default=4, help="epochs of the classifier alone (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=8, help="epochs of the whole network (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (default: %(default)s)")
    parser.add_argument(
        "--test-share", type=float, default=0.2, help="fraction of images held out (default: %(default)s)"
    )
    parser.add_argument("--output", default="own.keras", help="file of the trained model (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.output.endswith(".keras"):
        parser.error(f"--output must end in .keras, not {args.output}")

    keras.utils.set_random_seed(args.seed)
    try:
        images, labels, names = cifar_zoo.load_folder(args.folder) if args.folder else digits()
        x, x_test, y, y_test = train_test_split(
            images, labels, test_size=args.test_share, stratify=labels, random_state=args.seed
        )
        # Train on logits: probabilities that are rounded to 0 cannot be turned back into logits.
        network = cifar_zoo.create_model(
            args.network, weights="cifar10", classes=len(names), classifier_activation=None
        )
    except (cifar_zoo.CifarZooError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(x)} images to train on and {len(x_test)} held out, of {len(names)} classes: {', '.join(names)}")

    height, width = network.input_shape[1:3]
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:], name="pixels"),
            # Digits must not be mirrored; for photographs add layers.RandomFlip(). At inference only the crop acts.
            layers.RandomAffine(rotation=10, shift=0.06, zoom=0.1, seed=args.seed),
            layers.RandomCrop(height, width),
            network,
        ]
    )

    def train(learning_rate, epochs, **options):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.SGD(learning_rate, **options), loss, metrics=["accuracy"])
        model.fit(x, y, batch_size=args.batch_size, epochs=epochs, verbose=2)
        return model.evaluate(x_test, y_test, verbose=0)[1]

    for layer in network.layers:
        layer.trainable = layer.name == "classifier"
    accuracy = train(0.2, args.head_epochs)
    print(f"accuracy with the frozen trunk: {accuracy:.2%}", flush=True)

    for layer in network.layers:  # network.trainable is True already, so setting it would change no layer
        layer.trainable = True
    steps = args.epochs * -(-len(x) // args.batch_size)
    learning_rate = schedules.WarmUp(schedules.CosineDecay(0.02, steps), warmup_steps=steps // 10)
    accuracy = train(learning_rate, args.epochs, l2=5e-4, global_clipnorm=1.0)
    print(f"accuracy after fine-tuning: {accuracy:.2%}")

    keras.Sequential([*model.layers, keras.layers.Softmax()]).save(args.output)
    scores = keras.saving.load_model(args.output).predict(x_test[:1], verbose=0)[0]
    best = int(np.argmax(scores))
    print(f"{args.output}: an image of class {names[y_test[0]]} is classified as {names[best]} with {scores[best]:.1%}")


def digits() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scikit-learn's digits, written to a folder of PNG files and loaded from there."""
    data = load_digits()
    with tempfile.TemporaryDirectory() as folder:
        for number, (values, digit) in enumerate(zip(data.images, data.target, strict=True)):
            path = Path(folder, str(digit), f"{number:04}.png")
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.uint8(values * 255 / 16)).save(path)
        return cifar_zoo.load_folder(folder)


if __name__ == "__main__":
    main()
