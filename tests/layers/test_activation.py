"""The activation against PyTorch's: values and gradients, on every code path."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradients

from cifar_zoo import layers

NAMES = {"gelu": "gelu", "silu": "silu", "hard_silu": "hardswish", "relu": "relu"}


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-12, 12, 4001), [0.0, -3.0, 3.0, 1e4, -1e4]]).astype("float32")[None]
    upstream = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    outputs, gradient = value_and_gradients(layers.Activation(name), [x], upstream)
    theirs = torch.tensor(x.astype("float64"), requires_grad=True)
    expected = getattr(torch.nn.functional, NAMES[name])(theirs)
    expected.backward(torch.tensor(upstream.astype("float64")))
    np.testing.assert_allclose(outputs, expected.detach().numpy(), rtol=1e-5, atol=2e-6)
    corner = np.isin(np.abs(x), (0.0, 3.0))  # where a gradient is a matter of choice
    np.testing.assert_allclose(gradient[~corner], theirs.grad.numpy()[~corner], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_rounded_once(name):
    """The error of outputs and gradients is that of their format, and not a sum of such errors."""
    torch = pytest.importorskip("torch")
    x = torch.linspace(-6, 6, 3001).bfloat16().float()
    outputs, gradient = value_and_gradients(layers.Activation(name, dtype="mixed_bfloat16"), [x.numpy()])
    theirs = x.double().requires_grad_()
    expected = getattr(torch.nn.functional, NAMES[name])(theirs)
    expected.sum().backward()
    once = keras.backend.backend() != "jax"  # where XLA leaves the format to its parts
    tolerance = 2**-8 if once else 2**-6
    np.testing.assert_allclose(outputs, expected.detach().numpy(), rtol=tolerance, atol=tolerance / 8)
    inside = np.abs(np.abs(x.numpy()) - 3) > 1e-6
    inside &= x.numpy() != 0
    np.testing.assert_allclose(gradient[inside], theirs.grad.numpy()[inside], rtol=tolerance, atol=tolerance)


def test_training_compiles_it_where_tensorflow_composes_it():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("of TensorFlow's graph")
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("of the CPU")

    def operations(layer, training):
        @tf.function
        def gradient(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = layer(x, training=training)
            return tape.gradient(outputs, x)

        graph = gradient.get_concrete_function(tf.TensorSpec((None, 4, 4, 8), tf.bfloat16)).graph
        return [op.type for op in graph.get_operations()]

    kinds = operations(layers.Activation("gelu", dtype="mixed_bfloat16"), True)
    assert sum("PartitionedCall" in kind for kind in kinds) == 2
    assert not {"Erf", "Erfc", "Mul"} & set(kinds)
    assert not any("PartitionedCall" in kind for kind in operations(layers.Activation("gelu"), False))
    assert not any("PartitionedCall" in kind for kind in operations(layers.Activation("relu"), True))
