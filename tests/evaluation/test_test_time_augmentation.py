"""Test-time augmentation against NumPy, PyTorch and sums by hand."""

import tracemalloc

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError, evaluate
from cifar_zoo.evaluation.evaluate import VIEWS, view


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")


def views_by_numpy(x, side):
    """The six views (weight, images), the image first, by slices of one padded copy; the margin must be even."""
    margin = (x.shape[1] - side) // 2
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    views = []
    for offset, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
        crop = padded[:, margin + offset :, margin + offset :][:, :side, :side]
        views += [(weight, crop), (weight, crop[:, :, ::-1])]
    return views


def averaged_by_numpy(views, log_probabilities, y):
    """Number right and loss of the weighted mean of the log-probabilities (n, classes), normalized again."""
    mean = sum(weight * log_probabilities(images) for weight, images in views)
    mean = mean - np.log(np.exp(mean).sum(axis=1, keepdims=True))
    return int((mean.argmax(axis=1) == y).sum()), -mean[np.arange(len(y)), y].mean()


def log_softmax(scores):
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(32, 32, 32, 32), (9, 7, None, None), (8, 6, 4, 6)])
def test_views_are_those_of_pytorch(rows, columns, height, width):
    torch = pytest.importorskip("torch")
    x = random_images(5, rows, columns, 3)
    padded = torch.nn.functional.pad(torch.tensor(x).permute(0, 3, 1, 2).float(), (1, 1, 1, 1), mode="reflect")
    for _, shift, mirrored in VIEWS:
        expected = padded[:, :, 1 + shift : 1 + shift + rows, 1 + shift : 1 + shift + columns]
        if height == 4:
            expected = expected[:, :, 2:6]
        expected = (expected.flip(-1) if mirrored else expected).permute(0, 2, 3, 1).numpy()
        found = view(x, height, width, shift=shift, mirrored=mirrored)
        assert found.dtype == np.uint8 and found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected)


def test_weights_of_the_views():
    assert sum(weight for weight, _, _ in VIEWS) == 1
    assert sum(weight for weight, shift, _ in VIEWS if shift == 0) == 1 / 2
    assert sum(weight for weight, _, mirrored in VIEWS if mirrored) == 1 / 2
    assert len({(shift, mirrored) for _, shift, mirrored in VIEWS}) == 6


def test_a_crop_moves_onto_the_pixels_around_it():
    x = random_images(3, 33, 32, 3)
    np.testing.assert_array_equal(view(x, 24, 24, shift=-1, mirrored=False), x[:, 3:27, 3:27])
    np.testing.assert_array_equal(view(x, 24, 24, shift=1, mirrored=True), x[:, 5:29, 5:29][:, :, ::-1])
    np.testing.assert_array_equal(view(x, 32, 32, shift=1, mirrored=False)[:, :, :31], x[:, 1:33, 1:])
    # the mirror image is that of the crop, also where the crop does not lie exactly in the middle
    np.testing.assert_array_equal(view(x, 24, 31, shift=0, mirrored=True), x[:, 4:28, :31][:, :, ::-1])


def test_a_view_takes_the_memory_of_its_images():
    x = random_images(2000, 32, 32, 3)
    before = x.copy()
    tracemalloc.start()
    try:
        view(x, 32, 32, shift=1, mirrored=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * x.nbytes
    np.testing.assert_array_equal(x, before)


def test_images_smaller_than_the_view_are_refused():
    with pytest.raises(CifarZooError, match="the network takes 24x24 images, and these have only 20x32 pixels"):
        view(random_images(1, 20, 32, 3), 24, 24, shift=0, mirrored=False)


def linear_network(weights, side, probabilities):
    """Scores that are a sum over all pixels, each with weights of its own (side * side * 3, classes)."""
    inputs = keras.Input((side, side, 3))
    dense = keras.layers.Dense(weights.shape[1], use_bias=False, activation="softmax" if probabilities else None)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.set_weights([weights])
    return model


@pytest.mark.parametrize("probabilities", [False, True], ids=["logits", "probabilities"])
@pytest.mark.parametrize("side", [12, 8])
def test_figures_of_a_network_by_hand(side, probabilities):
    x = random_images(300, 12, 12, 3)
    y = np.random.default_rng(1).integers(0, 7, 300, dtype="uint8")
    weights = np.random.default_rng(2).normal(0, 1e-3, (side * side * 3, 7)).astype("float32")
    model = linear_network(weights, side, probabilities)

    def log_probabilities(images):
        return log_softmax(images.reshape(300, -1).astype("float64") @ weights.astype("float64"))

    views = views_by_numpy(x, side)
    correct, loss = averaged_by_numpy(views, log_probabilities, y)
    figures = evaluate(model, (x, y), batch_size=128, tta=True)
    assert figures["tta_correct"] == correct and figures["tta_accuracy"] == correct / 300
    assert figures["tta_loss"] == pytest.approx(loss, rel=1e-6)
    # and the plain figures are those of the first view alone, whether the others are asked for or not
    plain_correct, plain_loss = averaged_by_numpy([(1, views[0][1])], log_probabilities, y)
    assert figures["correct"] == plain_correct and figures["loss"] == pytest.approx(plain_loss, rel=1e-6)
    assert abs(plain_loss - loss) > 1e-3
    assert {key for key in figures if key.startswith("tta_")} == {"tta_accuracy", "tta_loss", "tta_correct"}
    assert evaluate(model, (x, y), batch_size=128) == {k: v for k, v in figures.items() if not k.startswith("tta")}


def test_a_network_that_is_certain():
    """Zeros among the probabilities: of an image and its mirror image the network says the opposite."""
    inputs = keras.Input((8, 8, 3))
    lighter_left = keras.layers.Lambda(
        lambda p: keras.ops.one_hot(keras.ops.cast(p[:, 0, 0, 0] > p[:, 0, -1, 0], "int32"), 2), output_shape=(2,)
    )
    model = keras.Model(inputs, lighter_left(inputs))
    x = np.zeros((4, 8, 8, 3), "uint8")
    x[:, :, :4] = 200
    figures = evaluate(model, (x, np.ones(4, "uint8")), tta=True, from_logits=False)
    assert (figures["accuracy"], figures["loss"]) == (1, 0)
    assert figures["tta_loss"] == pytest.approx(np.log(2), rel=1e-9)


def test_each_view_is_seen_once():
    class Counting(keras.Model):
        def predict(self, images, **options):
            self.seen.append(images.copy())
            return super().predict(images, **options)

    inputs = keras.Input((6, 6, 3))
    model = Counting(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    model.seen = []
    x = random_images(7, 8, 8, 3)
    evaluate(model, (x, np.zeros(7, "uint8")), tta=True)
    np.testing.assert_array_equal(np.stack(model.seen), np.stack([images for _, images in views_by_numpy(x, 6)]))


@pytest.mark.parametrize("name", [pytest.param("resnet20", marks=pytest.mark.full), "squeeze1"])
def test_published_weights_on_real_images(cifar10, name):
    x, y = (array[:1000] for array in cifar10[1])
    model = cifar_zoo.create_model(name, weights="cifar10")

    def log_probabilities(images):
        return np.log(model.predict(np.ascontiguousarray(images), batch_size=500, verbose=0).astype("float64"))

    correct, loss = averaged_by_numpy(views_by_numpy(x, model.input_shape[1]), log_probabilities, y)
    figures = evaluate(model, (x, y), tta=True)
    assert figures["tta_correct"] == correct
    assert figures["tta_loss"] == pytest.approx(loss, rel=1e-5)
    assert figures["tta_loss"] < figures["loss"]
