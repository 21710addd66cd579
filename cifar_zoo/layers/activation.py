"""Smooth activations that are fast on TensorFlow's CPU too."""

import keras

from cifar_zoo.backend.tensorflow_cpu import compiled_elementwise, on_tensorflow_cpu


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Activation(keras.layers.Activation):
    """Keras' activation layer; in training on TensorFlow's CPU an activation and its gradient are a compiled loop each.

    TensorFlow composes GELU and its gradient of some twenty operations, each of which goes through memory: together
    seven times as long, and half of the training step of a network like airbench94. The values are the same, but for
    rounding: in bfloat16 they are computed in float32 here and rounded once.

    Args:
        activation: the name of one, or a function, as in Keras.
        **kwargs: those of `keras.layers.Activation`.

    Call arguments:
        inputs: a tensor of any shape.
        training: boolean.

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for an activation that Keras does not know.

    Example:
        >>> import keras, numpy as np
        >>> from cifar_zoo import layers
        >>> outputs = layers.Activation("gelu")(np.array([-1.0, 0.0, 1.0]), training=True)
        >>> print(keras.ops.convert_to_numpy(outputs).round(4))
        [-0.1587  0.      0.8413]
    """

    def call(self, inputs, training=False):
        if training and self.activation in _COMPOSED and self.compute_dtype != "float64" and on_tensorflow_cpu():
            return compiled_elementwise(self.activation)(inputs)
        return super().call(inputs)


# Those of Keras that TensorFlow has no kernel for, or none for the gradient.
_COMPOSED = (keras.activations.gelu, keras.activations.silu, keras.activations.hard_silu)
