"""Use a pretrained network as a feature extractor: classify images and find nearest images without training it.

    python examples/features.py [FOLDER]

FOLDER has one subfolder per class, with images of any size and format. Without it the images are scikit-learn's 1,797
handwritten digits. The script shows

1. logistic regression on the output of the trunk, a vector of 64 features per image;
2. logistic regression on the feature maps of all stages of the backbone, averaged over the four quarters of each map,
   which keeps the coarse positions that digits differ in;
3. the nearest images by the cosine distance of these features.

Needs `pip install 'cifar-zoo[examples]'`. Measured on the digits with 360 of them held out and seeds 0, 1 and 2: 96.7,
95.6 and 96.7 % with the trunk, 99.7, 99.2 and 100.0 % with the backbone, 98.6, 97.5 and 99.7 % by the nearest image, in
seven seconds on 2 CPU cores. All three backends give the same accuracies with seed 0. A better classifier of
photographs does not always give better features: resnet20 reaches 87.8, 84.7 and 86.1 % with the trunk, 98.6, 99.2 and
98.9 % with the backbone, and 86.9, 89.4 and 89.4 % by the nearest image.
"""

import argparse

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cifar_zoo


def main() -> None:
    """Extract features of images with a pretrained network."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", nargs="?", help="one subfolder per class (default: scikit-learn's digits)")
    parser.add_argument("--network", default="alex1", help="a network with published weights (default: %(default)s)")
    parser.add_argument(
        "--test-share", type=float, default=0.2, help="fraction of images held out (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (default: %(default)s)")
    args = parser.parse_args()
    try:
        images, labels, names = cifar_zoo.load_folder(args.folder) if args.folder else digits()
        train, test = train_test_split(
            np.arange(len(labels)), test_size=args.test_share, stratify=labels, random_state=args.seed
        )
        options = {"weights": "cifar10", "input_shape": images.shape[1:]}
        trunk = cifar_zoo.create_model(args.network, include_top=False, pooling="avg", **options)
        backbone = cifar_zoo.create_model(args.network, features=True, **options)
    except (cifar_zoo.CifarZooError, ValueError) as error:
        parser.error(str(error))

    def regression(features):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        return model.fit(features[train], labels[train]).score(features[test], labels[test])

    vectors = trunk.predict(images, batch_size=128, verbose=0)
    print(f"{vectors.shape[1]} features per image from the trunk: accuracy {regression(vectors):.2%}")

    quarters = keras.Model(backbone.input, [in_quarters(stage) for stage in backbone.output.values()])
    vectors = np.concatenate(quarters.predict(images, batch_size=128, verbose=0), axis=1)
    shapes = ", ".join(f"{name} {stage.shape[1:]}" for name, stage in backbone.output.items())
    print(f"{vectors.shape[1]} features from the quarters of {shapes}: accuracy {regression(vectors):.2%}")

    neighbors = KNeighborsClassifier(1, metric="cosine").fit(vectors[train], labels[train])
    print(f"class of the nearest image: accuracy {neighbors.score(vectors[test], labels[test]):.2%}")
    _, nearest = neighbors.kneighbors(vectors[test[:3]], n_neighbors=5)
    for one, others in zip(test, nearest, strict=False):
        print(f"nearest to a {names[labels[one]]}: {', '.join(names[label] for label in labels[train[others]])}")


def in_quarters(stage):
    """Average a feature map (batch, height, width, channels) over its quarters and flatten it to a vector per image."""
    height, width = stage.shape[1:3]
    return keras.layers.Flatten()(keras.layers.AveragePooling2D((height // 2, width // 2))(stage))


def digits() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scikit-learn's digits as 32x32 RGB images with values 0..255, their labels, and the class names."""
    data = load_digits()
    small = [Image.fromarray(np.uint8(values * 255 / 16)).convert("RGB") for values in data.images]
    return (
        np.stack([image.resize((32, 32)) for image in small]),
        data.target,
        [str(name) for name in data.target_names],
    )


if __name__ == "__main__":
    main()
