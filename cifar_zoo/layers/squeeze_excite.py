"""Squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507)."""

import keras
from keras import ops

from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class SqueezeExcite(keras.layers.Layer):
    """Reweights the channels of a feature map by gates computed from the spatial means of all channels.

    Computes `inputs * gate_activation(W2 @ activation(W1 @ mean + b1) + b2)`, with the mean over height and width.

    Args:
        ratio: Integer. Reduction ratio: the first dense layer has `channels // ratio` units.
        units: Integer or None. Number of units of the first dense layer, overriding `ratio`.
        activation: String or callable. Activation of the first dense layer.
        gate_activation: String or callable. Activation of the gates.
        use_bias: Boolean. Whether the two dense layers have biases.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If `ratio` or `units` is not a positive integer, `ratio` exceeds the number of channels, or the
            inputs are not of rank 4.

    Reference:
        Hu, Shen, Albanie, Sun and Wu, "Squeeze-and-Excitation Networks", 2017 (arXiv:1709.01507).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layer = layers.SqueezeExcite(ratio=4)
        >>> tuple(layer(np.ones((2, 8, 8, 16))).shape), layer.count_params()
        ((2, 8, 8, 16), 148)
    """

    def __init__(self, ratio=16, units=None, activation="relu", gate_activation="sigmoid", use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.ratio = integer("ratio", ratio)
        self.units = integer("units", units, or_none=True)
        self.activation = keras.activations.get(activation)
        self.gate_activation = keras.activations.get(gate_activation)
        self.use_bias = use_bias
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        channels = input_shape[-1]
        units = self.units or channels // self.ratio
        if units == 0:
            raise ValueError(f"ratio must be at most the number of channels, {channels}, not {self.ratio}")
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        options = {"use_bias": self.use_bias, "kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.squeeze = keras.layers.Dense(units, self.activation, name=f"{self.name}_squeeze", **options)
        self.squeeze.build((None, channels))
        self.excite = keras.layers.Dense(channels, self.gate_activation, name=f"{self.name}_excite", **options)
        self.excite.build((None, units))

    def call(self, inputs):
        gates = self.excite(self.squeeze(ops.mean(inputs, axis=(1, 2))))
        return inputs * gates[:, None, None, :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "gate_activation": keras.activations.serialize(self.gate_activation),
            "use_bias": self.use_bias,
        }
