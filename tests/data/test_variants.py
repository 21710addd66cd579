"""CIFAR-10.1, CIFAR-10.2 and CIFAR-10H: files of their form, whose hashes Git itself computes."""

import subprocess

import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.data import variants
from cifar_zoo.data.variants import load_cifar10h, load_variant

random = np.random.default_rng(0)
IMAGES = random.integers(0, 256, (20, 32, 32, 3), dtype="uint8")
LABELS = random.integers(0, 10, 20).astype("int32")


@pytest.fixture
def publish(monkeypatch):
    """Take files for the published ones: their hashes are those of `git hash-object`."""

    def take(*paths):
        for path in paths:
            digest = subprocess.run(
                ["git", "hash-object", "--no-filters", path], capture_output=True, text=True, check=True
            )
            monkeypatch.setitem(variants.PUBLISHED, path.name, digest.stdout.strip())

    return take


def cifar10_1(folder, images=IMAGES, labels=LABELS):
    paths = [folder / f"cifar10.1_v6_{what}.npy" for what in ("data", "labels")]
    for path, array in zip(paths, (images, labels), strict=True):
        np.save(path, array)
    return paths


def test_cifar10_1(tmp_path, publish):
    paths = cifar10_1(tmp_path)
    publish(*paths)
    images, labels = load_variant(paths[0])
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    assert cifar_zoo.evaluate("squeeze1", str(paths[0])) == cifar_zoo.evaluate("squeeze1", (IMAGES, LABELS))


@pytest.mark.parametrize("which", ["train", "test"])
def test_cifar10_2(tmp_path, publish, which):
    path = tmp_path / f"cifar102_{which}.npz"
    np.savez(path, images=IMAGES, labels=LABELS, label_names=np.array(["airplane"], object), ti_indices=np.arange(20))
    publish(path)
    images, labels = load_variant(path)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_cifar10h(tmp_path, publish, cifar10):
    path = tmp_path / "cifar10h-probs.npy"
    people = random.dirichlet(np.ones(10), 10_000)
    np.save(path, people)
    publish(path)
    np.testing.assert_array_equal(load_cifar10h(path), people)
    with pytest.raises(CifarZooError, match="CIFAR-10H has the 10,000 test images .*; these are 20 images"):
        cifar_zoo.evaluate("squeeze1", (IMAGES, LABELS), human=path)


def test_damaged_and_other_files_are_refused(tmp_path, publish):
    paths = cifar10_1(tmp_path)
    with pytest.raises(
        CifarZooError, match=r"its SHA-1 .* is [0-9a-f]{40}, and that of the published cifar10.1_v6_data"
    ):
        load_variant(paths[0])
    publish(paths[0])
    with pytest.raises(CifarZooError, match=r"its SHA-1 .* cifar10.1_v6_labels.npy is e713b09c"):
        load_variant(paths[0])
    paths[1].unlink()
    with pytest.raises(CifarZooError, match=r"cifar10.1_v6_labels.npy"):
        load_variant(paths[0])
    for load, name in ((load_variant, "other.npy"), (load_cifar10h, "cifar10.1_v6_data.npy")):
        with pytest.raises(CifarZooError, match="the published file"):
            load(tmp_path / name)


def test_published_files_hold_what_the_loaders_promise(tmp_path, publish):
    """Wrong shapes and labels would be refused even with the right hash."""
    for images, labels in ((IMAGES[:, :31], LABELS), (IMAGES, LABELS + 1)):
        paths = cifar10_1(tmp_path, images, labels)
        publish(*paths)
        with pytest.raises(CifarZooError, match=r"images must be uint8 \(n, 32, 32, 3\)|labels must be 0..9"):
            load_variant(paths[0])
