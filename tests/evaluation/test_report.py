"""The report of an evaluation: its files agree with each other and with scikit-learn."""

import html.parser
import io
import json
import re
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, recall_score

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.evaluation.logits import predict_logits


@pytest.fixture(scope="module")
def images(cifar10):
    x, y = cifar10[1]
    return x[:500], y[:500]


class Page(html.parser.HTMLParser):
    """Collects tags and text, and checks that all tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_files_of_a_report(tmp_path, images, cifar10):
    (x_train, y_train), _ = cifar10
    x, y = images
    model = cifar_zoo.models.squeeze1(weights="cifar10")
    held_out = x_train[:300], y_train[:300]
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype="uint8")
    figures = cifar_zoo.evaluate(model, (x, y), tta=True, held_out=held_out, unknown=noise, report=tmp_path / "a" / "b")
    report = json.loads((tmp_path / "a" / "b" / "report.json").read_text())
    for key, value in figures.items():
        assert report[key] == value
    predicted = predict_logits(model, x).argmax(axis=1)
    assert report["confusion_matrix"] == confusion_matrix(y, predicted, labels=range(10)).tolist()
    accuracies = [row["accuracy"] for row in report["classes"]]
    np.testing.assert_allclose(accuracies, recall_score(y, predicted, labels=range(10), average=None))
    assert [row["class"] for row in report["classes"]][3] == "cat"
    assert sum(report["reliability"]["equal_width"]["images"]) == 500
    assert report["risk_coverage"][-1] == {"coverage": 1.0, "risk": pytest.approx(1 - report["accuracy"])}
    for mistake in report["mistakes"]:
        classes = [row["class"] for row in report["classes"]]
        assert classes[y[mistake["index"]]] == mistake["label"] != mistake["predicted"]
        assert classes[predicted[mistake["index"]]] == mistake["predicted"]
    assert report["temperature"]["held_out"] == 300

    page = Page((tmp_path / "a" / "b" / "report.html").read_text(encoding="utf-8"))
    assert f"{report['accuracy']:.2%}" in page.text and f"{report['loss']:.4f}" in page.text
    drawn = [attributes for tag, attributes in page.tags if tag == "img"]
    plots = {path.stem for path in (tmp_path / "a" / "b").glob("*.png")}
    assert plots == {"reliability", "confusion", "risk_coverage", "mistakes"} and len(drawn) == len(plots)
    for attributes in drawn:
        assert attributes["src"].startswith("data:image/png;base64,") and attributes["alt"]
    for plot in plots:
        image = Image.open(tmp_path / "a" / "b" / f"{plot}.png").convert("RGB")
        assert image.width > 300 and len(image.getcolors(1 << 24)) > 20  # something is drawn
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page.rawdata + "".join(map(str, page.tags)))


def test_the_temperature_is_that_of_the_held_out_images(images, cifar10):
    """A network whose logits are three times too large is corrected by a temperature three times as high."""
    model = cifar_zoo.models.squeeze1(weights="cifar10", classifier_activation=None)
    sharp = keras.Model(model.inputs[0], 3 * model.outputs[0])
    held_out = cifar10[1][0][500:1500], cifar10[1][1][500:1500]
    first, second = (cifar_zoo.evaluate(m, images, held_out=held_out, from_logits=True) for m in (model, sharp))
    assert second["temperature"]["temperature"] == pytest.approx(3 * first["temperature"]["temperature"], rel=1e-4)
    assert second["temperature"]["loss"] == pytest.approx(first["temperature"]["loss"], rel=1e-4)
    assert second["temperature"]["ece"] < second["ece"] - 0.03


def test_a_report_of_other_classes(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype="uint8")
    y = np.arange(30) % 2  # no image of the third class
    cifar_zoo.evaluate(model, (x, y), report=tmp_path, class_names=["left", "<right>", "none"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["classes"][2] == {"class": "none", "images": 0, "accuracy": None}
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "<right>" in page.text  # the name of a class is no HTML
    cifar_zoo.evaluate(model, (x, y), report=tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["classes"][1]["class"] == "1"
    with pytest.raises(CifarZooError, match="class_names has 2 names, and the network 3 classes"):
        cifar_zoo.evaluate(model, (x, y), report=tmp_path, class_names=["a", "b"])


@pytest.mark.parametrize("scores", ["nan", "perfect"])
def test_a_report_of_useless_and_perfect_scores(tmp_path, scores):
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    x = np.zeros((9, 4, 4, 3), "uint8")
    x[np.arange(9), 0, 0, np.arange(9) % 3] = 255
    kernel = np.eye(48, 3) if scores == "perfect" else np.full((48, 3), np.nan)
    model.set_weights([kernel, np.zeros(3)])
    figures = cifar_zoo.evaluate(model, (x, np.arange(9) % 3), report=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["correct"] == figures["correct"] == (9 if scores == "perfect" else 0)
    assert (report["loss"] is None) == (scores == "nan")
    assert report["mistakes"] == [] or scores == "nan"
    Image.open(io.BytesIO((tmp_path / "mistakes.png").read_bytes())).verify()


def test_a_report_that_cannot_be_written_is_refused_before_the_evaluation(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(CifarZooError, match="cannot be made|is not a usable path"):
        cifar_zoo.evaluate(model, "nowhere.npz", report=tmp_path / "file" / "report")
    with pytest.raises(CifarZooError, match="class_names must be a list of strings"):
        cifar_zoo.evaluate(model, "nowhere.npz", report=tmp_path, class_names="cat")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CifarZooError, match=r"pip install 'cifar-zoo\[report\]'"):
        cifar_zoo.evaluate(model, "nowhere.npz", report=tmp_path)


def test_the_command(zoo, small_npz, tmp_path):
    folder = tmp_path / "unknown"
    folder.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype="uint8")
        Image.fromarray(noise).save(folder / f"{number}.png")
    report = tmp_path / "report"
    done = zoo("evaluate", "squeeze1", "--data", small_npz, "--unknown", folder, "--report", report)
    assert done.returncode == 0, done.stderr
    assert re.search(r"squeeze1: \d\d\.\d\d% of 200 test images .* 95 % interval", done.stdout)
    assert "3 unknown images:" in done.stdout and "knn" in done.stdout
    assert (report / "report.html").exists()
    done = zoo("evaluate", "squeeze1", "--data", small_npz, "--held-out", "100")
    assert done.returncode == 2 and "trained on all training images" in done.stderr
    model = cifar_zoo.models.squeeze1(weights="cifar10")
    cifar_zoo.save_weights(model, tmp_path / "own.weights.h5")
    options = ("--data", small_npz, "--weights", tmp_path / "own.weights.h5", "--json")
    done = zoo("evaluate", "squeeze1", *options, "--held-out", "100")
    assert json.loads(done.stdout)["temperature"]["held_out"] == 100
    for count in ("0", "600", "-1"):
        done = zoo("evaluate", "squeeze1", *options, "--held-out", count)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "--held-out" in done.stderr
