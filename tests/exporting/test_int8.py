"""Networks in 8-bit integers."""

import keras
import numpy as np
import pytest

import cifar_zoo
from cifar_zoo import CifarZooError
from cifar_zoo.data.cifar10 import load_cifar10
from cifar_zoo.evaluation.onnx_model import OnnxModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_kernels_are_integers_and_the_accuracy_is_measured(small_npz, tmp_path):
    data = load_cifar10(small_npz)
    figures = cifar_zoo.export("squeeze1", tmp_path / "int8.onnx", int8=True, data=small_npz, force=True)
    assert figures["accuracy"] == cifar_zoo.evaluate("squeeze1", data)["accuracy"]
    assert figures["int8_accuracy"] == cifar_zoo.evaluate(tmp_path / "int8.onnx", data)["accuracy"]
    assert abs(figures["accuracy"] - figures["int8_accuracy"]) < 0.03  # of 200 images
    graph = onnx.load(tmp_path / "int8.onnx").graph
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    producers = {name: node.op_type for node in graph.node for name in node.output}
    assert len(convolutions) == 14 and all(producers[node.input[1]] == "DequantizeLinear" for node in convolutions)
    integers = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    kernels = [onnx.numpy_helper.to_array(tensor) for tensor in integers]
    assert sum(kernel.size for kernel in kernels) > 0.95 * 146_570
    assert max(np.abs(kernel).max() for kernel in kernels) <= 64  # so that no CPU adds with saturation
    assert figures["bytes"] == (tmp_path / "int8.onnx").stat().st_size < 0.4 * 4 * 146_570
    assert OnnxModel(tmp_path / "int8.onnx").class_names[3] == "cat"  # the metadata stays


def with_an_outlier():
    """A network whose classes differ little, beside one activation that is a thousand times as large as the others."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(11, 8, 8, use_bias=False, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10, name="classifier")(x))
    kernel = np.random.default_rng(0).normal(0, 1e-3, (8, 8, 3, 11))
    kernel[..., 10] = 1e-2
    model.get_layer("conv").set_weights([kernel])
    model.get_layer("classifier").set_weights([np.eye(11, 10), np.zeros(10)])
    return model


def test_a_network_that_loses_accuracy_is_refused_unless_forced(small_npz, tmp_path):
    model = with_an_outlier()
    (x, y), (images, _) = load_cifar10(small_npz)
    labels = model.predict(images, verbose=0).argmax(axis=1).astype("uint8")
    assert len(set(labels)) > 3
    data = (x, y), (images, labels)
    path = tmp_path / "int8.onnx"
    path.write_text("what was here before")
    with pytest.raises(CifarZooError, match="in 8-bit integers .* of 100.00%, which is more than 0.5 points less"):
        cifar_zoo.export(model, path, int8=True, data=data)
    assert path.read_text() == "what was here before"
    figures = cifar_zoo.export(model, path, int8=True, data=data, force=True)
    assert figures["accuracy"] == 1 > figures["int8_accuracy"] + 0.005


@pytest.mark.full
@pytest.mark.parametrize("name", cifar_zoo.list_models(pretrained=True))
def test_trained_networks_keep_their_accuracy(name, cifar10, tmp_path):
    figures = cifar_zoo.export(name, tmp_path / "int8.onnx", int8=True, data=cifar10)
    assert figures["int8_accuracy"] > figures["accuracy"] - 0.005
