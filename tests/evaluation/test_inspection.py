"""What is seen inside of networks, against PyTorch, NumPy and networks whose inside is known."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.evaluation.inspection import (
    activation_histogram,
    dead_relus,
    first_filters,
    grad_cam,
    outputs_of,
    overlay,
    tiled,
)
from cifar_zoo.training.callbacks.activation_histograms import ActivationHistograms

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype="uint8")


def small(activation="softmax"):
    """Two convolutions, of which the second has dead units, and a dense layer."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="first"),
            keras.layers.Conv2D(8, 3, strides=2, name="second"),
            keras.layers.ReLU(name="relu"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(5, name="classifier"),
            keras.layers.Activation(activation, name="scores"),
        ]
    )
    kernel, _ = model.get_layer("second").get_weights()
    model.get_layer("second").set_weights([kernel, np.float32([-1e3, 0, 0, -1e3, 0, 0, 0, -1e3])])
    return model


def heat_by_torch(model, images, classes):
    """Grad-CAM of `small`, computed by PyTorch from its weights."""
    import torch
    from torch.nn import functional

    def tensor(array):
        return torch.from_numpy(np.ascontiguousarray(array))

    first, second, dense = (model.get_layer(name).get_weights() for name in ("first", "second", "classifier"))
    x = tensor(images).permute(0, 3, 1, 2) / 255
    x = functional.conv2d(x, tensor(first[0].transpose(3, 2, 0, 1)), tensor(first[1]), stride=2).relu()
    x = functional.conv2d(x, tensor(second[0].transpose(3, 2, 0, 1)), tensor(second[1]), stride=2).relu()
    x.requires_grad_(True)
    logits = x.mean(dim=(2, 3)) @ tensor(dense[0]) + tensor(dense[1])
    logits[torch.arange(len(images)), tensor(classes)].sum().backward()
    heat = (x.grad.mean(dim=(2, 3), keepdim=True) * x).sum(dim=1, keepdim=True).relu()
    heat = functional.interpolate(heat, (32, 32), mode="bilinear", align_corners=False)[:, 0]
    return (heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)).detach().numpy()


@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_heat_maps_are_those_of_pytorch(activation):
    model = small(activation)
    predicted = model.predict(IMAGES, verbose=0).argmax(axis=-1)
    np.testing.assert_allclose(grad_cam(model, IMAGES), heat_by_torch(model, IMAGES, predicted), atol=2e-3)
    asked = np.arange(40) % 5
    found = grad_cam(model, IMAGES, asked)
    np.testing.assert_allclose(found, heat_by_torch(model, IMAGES, asked), atol=2e-3)
    assert found.shape == (40, 32, 32) and found.min() >= 0 and found.max() == 1
    assert not np.allclose(grad_cam(model, IMAGES, layer="first"), grad_cam(model, IMAGES), atol=0.1)


def test_heat_maps_find_the_object():
    """A pretrained network looks at the half of an image that shows the object; the other half is gray."""
    from PIL import Image
    from skimage.data import chelsea

    from cifar_zoo.data.images import from_pillow

    cat = from_pillow(Image.fromarray(chelsea()))
    model = cifar_zoo.models.resnet20(weights="cifar10")
    for left in (True, False):
        image = np.full((32, 32, 3), 128, "uint8")
        half = slice(0, 16) if left else slice(16, 32)
        image[:, half] = cat[:, 8:24]
        (heat,) = grad_cam(model, image[None])
        assert heat[:, half].mean() > 2 * heat[:, slice(16, 32) if left else slice(0, 16)].mean()


@pytest.mark.parametrize("name", ["alex0", "nin", "squeeze1", "airbench94", "resnet20", "small_alexnet"])
def test_heat_maps_of_networks_of_the_zoo(name):
    model = cifar_zoo.create_model(name, weights="cifar10")
    heat = grad_cam(model, IMAGES[:3])
    assert heat.shape == (3, *model.input_shape[1:3])
    assert heat.max() == 1 and np.isfinite(heat).all() and (heat.std(axis=(1, 2)) > 0.01).any()


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.full), "torch"])
def test_other_backends_give_the_same_heat_maps(tmp_path, backend):
    np.save(tmp_path / "images.npy", IMAGES[:8])
    program = (
        "import numpy as np, cifar_zoo; from cifar_zoo.evaluation.inspection import grad_cam; "
        "model = cifar_zoo.models.squeeze1(weights='cifar10'); "
        "np.save('heat.npy', grad_cam(model, np.load('images.npy')))"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=300)
    expected = grad_cam(cifar_zoo.models.squeeze1(weights="cifar10"), IMAGES[:8])
    np.testing.assert_allclose(np.load(tmp_path / "heat.npy"), expected, atol=1e-3)


def test_what_cannot_be_explained_is_refused():
    model = small()
    with pytest.raises(CifarZooError, match=r"has no layer 'pool' that gives feature maps; there are rescaling"):
        grad_cam(model, IMAGES, layer="pool")
    for classes in (np.arange(3), np.full(40, 5), np.full(40, -1), np.full(40, 0.5)):
        with pytest.raises(CifarZooError, match="classes must be 40 integers from 0 to 4"):
            grad_cam(model, IMAGES, classes)
    grad_cam(cifar_zoo.models.alex0(), IMAGES[:1], layer="c5_1")  # a chain: any layer will do
    residual = cifar_zoo.models.resnet20()
    inside = next(layer.name for layer in residual.layers if layer.name.startswith("stage2_unit2_1_conv"))
    with pytest.raises(CifarZooError, match=f"are not a function of the layer {inside!r} alone; name a later layer"):
        grad_cam(residual, IMAGES[:1], layer=inside)


def test_an_overlay_keeps_the_image_where_there_is_no_heat():
    gray = np.repeat(IMAGES[0].astype("float32").mean(axis=-1, keepdims=True), 3, axis=-1)
    np.testing.assert_array_equal(overlay(IMAGES[0], np.zeros((32, 32))), np.rint(gray).astype("uint8"))
    hot = overlay(IMAGES[0], np.ones((32, 32)))
    assert (hot[..., 0] > hot[..., 2]).all() and hot.dtype == np.uint8


def test_outputs_and_histograms_are_those_of_numpy():
    model = small()
    part = keras.Model(model.inputs[0], model.get_layer("relu").output)
    expected = part.predict(IMAGES, verbose=0)
    found = np.concatenate([outputs for (outputs,) in outputs_of(model, ["relu"], IMAGES)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    counts, edges = activation_histogram(model, "relu", IMAGES, 20)
    np.testing.assert_allclose([edges[0], edges[-1]], [expected.min(), expected.max()], rtol=1e-5)
    assert counts.sum() == expected.size
    counts, edges = activation_histogram(model, "relu", IMAGES, 20, (0.01, 0.2))
    reference, _ = np.histogram(expected, 20, (0.01, 0.2))
    np.testing.assert_allclose(counts, reference, atol=3)  # values at the edges
    with pytest.raises(CifarZooError, match="has no layer 'relu2'; there are rescaling"):
        activation_histogram(model, "relu2", IMAGES)


def test_dead_relus_are_those_that_were_made():
    first, second = dead_relus(small(), IMAGES)
    assert (first.layer, first.units, second.layer, second.units) == ("first", 6, "relu", 8)
    assert second.dead >= 3  # the three of `small`, and by chance others
    model = small()
    outputs = keras.Model(model.inputs[0], model.get_layer("relu").output).predict(IMAGES, verbose=0)
    assert second.dead == (outputs.max(axis=(0, 1, 2)) == 0).sum()
    assert second.zeros == pytest.approx((outputs == 0).mean(), abs=1e-4)
    with pytest.raises(CifarZooError, match="has no layer that is a ReLU"):
        dead_relus(cifar_zoo.models.tanh_alexnet(input_shape=(32, 32, 3), classes=2), IMAGES)


def test_filters_as_images():
    model = small()
    filters, kernel = first_filters(model), model.get_layer("first").get_weights()[0]
    assert filters.shape == (6, 3, 3, 3) and filters.dtype == np.uint8
    back = (filters.astype(float) - 128) / 127 * np.abs(kernel).max(axis=(0, 1, 2))[:, None, None, None]
    np.testing.assert_allclose(back.transpose(1, 2, 3, 0), kernel, atol=np.abs(kernel).max() / 250)
    grid = tiled(filters, 4)
    assert grid.shape == (2 * 4 + 1, 4 * 4 + 1, 3)
    np.testing.assert_array_equal(grid[5:8, 5:8], filters[5])
    with pytest.raises(CifarZooError, match="has no convolution of images"):
        first_filters(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]))


def test_histograms_over_a_training(small_npz, tmp_path):
    keras.utils.set_random_seed(0)
    model = cifar_zoo.models.squeeze1()
    layer = dead_relus(model, IMAGES)[-1].layer
    histograms = ActivationHistograms(model, layer, IMAGES, (0, 3), 30, tmp_path / "histograms.npz")
    recipe = cifar_zoo.Recipe(epochs=2, warmup_epochs=0, ema_decay=None, learning_rate=0.1, global_clipnorm=1.0)
    options = {"data": small_npz, "run_dir": tmp_path / "run", "precision": "float32", "verbose": 0}
    cifar_zoo.fit_cifar10(model, recipe, callbacks=[histograms], **options)
    assert len(histograms.counts) == 3
    found, _ = activation_histogram(model, layer, IMAGES, 30, (0, 3))
    np.testing.assert_allclose(histograms.counts[-1], found, rtol=0.02, atol=30)  # rounded to float16
    assert np.abs(histograms.counts[0] - found).max() > 100
    with np.load(tmp_path / "histograms.npz") as saved:
        np.testing.assert_array_equal(saved["counts"], histograms.counts)
        np.testing.assert_array_equal(saved["edges"], histograms.edges)
