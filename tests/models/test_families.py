"""What holds for the model files, whatever is in them, and for networks under other global settings of Keras."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import cifar_zoo
from cifar_zoo.evaluation.costs import abstract_model

MODELS = Path(cifar_zoo.models.__file__).parent
SHARED = {"blocks", "build", "lazy"}
FAMILIES = sorted(path for path in MODELS.glob("*.py") if path.stem not in {"__init__", *SHARED})


def imported_from_models(source):
    """The modules of cifar_zoo.models that a file imports from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[2] for name in names if name.startswith("cifar_zoo.models."))


def test_imports_are_seen():
    inside = "def f():\n    from cifar_zoo.models import blocks"
    source = f"from cifar_zoo.models.vgg import trunk\nimport cifar_zoo.models.nin, keras\n{inside}"
    assert list(imported_from_models(source)) == ["vgg", "nin", "blocks"]


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_no_family_imports_from_another(path):
    assert set(imported_from_models(path.read_text())) <= SHARED


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_is_one_short_file(path):
    assert len(path.read_text().splitlines()) <= 160
    assert path.stem in {cifar_zoo.model_info(name).family for name in cifar_zoo.list_models()}


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooling_is_over_height_and_width(pooling, channels_first):
    model = abstract_model("resnet20", include_top=False, pooling=pooling)
    assert model.output_shape == (None, 64)


@pytest.mark.parametrize(
    "name",
    ["alex3", "shufflenet_v2", *(pytest.param(each, marks=pytest.mark.full) for each in ("resnet20", "small_alexnet"))],
)
def test_networks_compute_save_and_load_under_channels_first(name, tmp_path, channels_first):
    first = cifar_zoo.create_model(name)
    first.save(tmp_path / "whole.keras")
    cifar_zoo.save_weights(first, tmp_path / "own.weights.h5")
    loaded = [
        keras.saving.load_model(tmp_path / "whole.keras"),
        keras.models.clone_model(first),
        cifar_zoo.create_model(name, weights=tmp_path / "own.weights.h5"),
    ]
    loaded[1].set_weights(first.get_weights())
    keras.config.set_image_data_format("channels_last")
    last = cifar_zoo.create_model(name)
    last.set_weights(first.get_weights())
    x = np.random.default_rng(0).integers(0, 256, (2, *first.input_shape[1:]), dtype="uint8")
    expected = ops.convert_to_numpy(last(x))
    keras.config.set_image_data_format("channels_first")
    np.testing.assert_allclose(ops.convert_to_numpy(first(x)), expected, rtol=1e-5, atol=1e-6)
    for model, tolerance in zip(loaded, (1e-6, 1e-6, 2e-2), strict=True):  # weights files hold float16
        np.testing.assert_allclose(ops.convert_to_numpy(model(x)), expected, rtol=0, atol=tolerance)
