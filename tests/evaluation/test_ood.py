"""Detection of unknown images, against scikit-learn and on images that are known to be unknown."""

import keras
import numpy as np
import pytest
import scipy.special
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.evaluation.logits import predict_features
from cifar_zoo.evaluation.ood import detect_unknown, kth_distance, load_images

NOISE = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype="uint8")


def digits(n=300):
    small = (load_digits().images[:n] * (255 / 16)).astype("uint8")
    return np.repeat(np.kron(small, np.ones((1, 4, 4), "uint8"))[..., None], 3, axis=-1)


def test_the_distance_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    bank, features = random.normal(size=(700, 16)), random.normal(size=(1200, 16))
    features[0] = 3 * bank[5]  # the same direction

    def normalized(vectors):
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    for k in (1, 7, 700):
        expected, _ = NearestNeighbors(n_neighbors=k).fit(normalized(bank)).kneighbors(normalized(features))
        np.testing.assert_allclose(kth_distance(bank, features, k), expected[:, -1], atol=1e-3)
    assert kth_distance(bank, features, 1)[0] < 1e-3


def test_scores_of_a_network_by_hand(cifar10):
    (x_train, _), (x, _) = cifar10
    x_train, x, unknown = x_train[:500], x[:400], digits()
    model = cifar_zoo.models.squeeze1(weights="cifar10")
    found = detect_unknown(model, x, unknown, x_train, neighbors=5)
    logits = cifar_zoo.models.squeeze1(weights="cifar10", classifier_activation=None)
    truth = np.repeat([1, 0], [len(x), len(unknown)])
    both = np.concatenate([x, unknown])[:, 4:28, 4:28]  # its input size
    scores = logits.predict(both, verbose=0)
    expected = scipy.special.softmax(scores.astype("float64"), axis=1).max(axis=1)
    assert found["max_softmax"]["auroc"] == pytest.approx(roc_auc_score(truth, expected), abs=1e-4)
    assert found["energy"]["auroc"] == pytest.approx(
        roc_auc_score(truth, scipy.special.logsumexp(scores, axis=1)), abs=1e-4
    )
    trunk = cifar_zoo.models.squeeze1(weights="cifar10", include_top=False, pooling="avg")
    bank, features = (trunk.predict(images, verbose=0) for images in (x_train[:, 4:28, 4:28], both))
    bank, features = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (bank, features))
    distances, _ = NearestNeighbors(n_neighbors=5).fit(bank).kneighbors(features)
    assert found["knn"]["auroc"] == pytest.approx(roc_auc_score(truth, -distances[:, -1]), abs=2e-3)
    assert found["images"] == 300


@pytest.mark.parametrize("name", ["resnet20", "squeeze1", "nin", "alex0"])
def test_pretrained_networks_know_what_they_do_not_know(name, cifar10):
    """Half of all pairs would be in order by chance."""
    found = cifar_zoo.evaluate(name, (cifar10[1][0][:300], cifar10[1][1][:300]), unknown=NOISE)["unknown"]
    assert max(found[score]["auroc"] for score in ("max_softmax", "energy")) > 0.7
    assert "knn" not in found  # there are no training images


def test_training_images_of_a_data_set_are_the_neighbors(small_npz):
    found = cifar_zoo.evaluate("squeeze1", small_npz, unknown=digits(50))["unknown"]
    assert 0.5 < found["knn"]["auroc"] <= 1


def test_the_features_of_any_network_are_the_inputs_of_its_classifier():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    expected = keras.Model(model.inputs[0], model.get_layer("pool").output).predict(NOISE[:5, :8, :8], verbose=0)
    np.testing.assert_allclose(predict_features(model, NOISE[:5, :8, :8]), expected, rtol=1e-6)
    with pytest.raises(CifarZooError, match="has no layer with weights"):
        predict_features(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]), NOISE[:5, :8, :8])


def test_a_model_without_logits_has_no_energy():
    model = cifar_zoo.models.squeeze1(weights="cifar10", classifier_activation="sigmoid")
    assert set(detect_unknown(model, NOISE[:20], NOISE[:10])) == {"images", "max_softmax"}


def test_images_of_a_folder(tmp_path):
    from PIL import Image

    (tmp_path / "deeper").mkdir()
    Image.fromarray(NOISE[0]).save(tmp_path / "b.png")
    Image.fromarray(NOISE[1]).save(tmp_path / "deeper" / "a.png")
    (tmp_path / ".hidden").write_text("not an image")
    np.testing.assert_array_equal(load_images(tmp_path), NOISE[:2])
    (tmp_path / "Thumbs.db").write_text("of a system")
    assert load_images(tmp_path).shape == (2, 32, 32, 3)
    larger = cifar_zoo.models.squeeze1(input_shape=(40, 40, 3))  # takes the files as `predict` does
    x = np.random.default_rng(2).integers(0, 256, (3, 40, 40, 3), dtype="uint8")
    assert cifar_zoo.evaluate(larger, (x, np.arange(3)), unknown=tmp_path)["unknown"]["images"] == 2
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(CifarZooError, match=r"notes.txt' cannot be read as an image"):
        load_images(tmp_path)


@pytest.mark.parametrize("images", [NOISE.astype("float32"), NOISE[0], NOISE[:0]])
def test_what_is_no_images_is_refused(images):
    with pytest.raises(CifarZooError, match="images must be pixels"):
        load_images(images)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(CifarZooError, match="has no images"):
        load_images(tmp_path)
    with pytest.raises(CifarZooError, match="there is no folder"):
        load_images(tmp_path / "nowhere")


def test_more_neighbors_than_images_are_refused():
    model = cifar_zoo.models.squeeze1()
    with pytest.raises(CifarZooError, match="neighbors must be at most the number of training images, 10"):
        detect_unknown(model, NOISE[:3], NOISE[:3], NOISE[:10], neighbors=11)
