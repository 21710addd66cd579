"""Convolution that is fast on PyTorch and learns fast on TensorFlow's CPU too."""

import keras
from keras import ops

from cifar_zoo.backend.tensorflow_cpu import on_tensorflow_cpu


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution; in bfloat16 on TensorFlow's CPU the kernel's gradient is made of matrix products.

    Where images have become small and channels many, TensorFlow's own takes up to seven times as long: together a
    fifth of the training step of a ResNet-18. On PyTorch Keras copies the inputs twice, into another order and back;
    here they stay as they are. The result, the gradients and the weights are the same.

    Args:
        filters: number of output channels.
        kernel_size: integer, or two for height and width.
        strides: integer, or two for height and width.
        padding: "same" or "valid".
        **kwargs: the others of `keras.layers.Conv2D`.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor (batch, new height, new width, filters) of the same dtype.

    Raises:
        ValueError: for sizes that are not positive integers, or inputs of another rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> tuple(layers.Conv2D(16, 3, padding="same")(np.ones((2, 8, 8, 4))).shape)
        (2, 8, 8, 16)
    """

    def __init__(self, filters, kernel_size, strides=1, padding="valid", **kwargs):
        super().__init__(filters, kernel_size, strides=strides, padding=padding, **kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes=self.input_spec.axes)

    def convolution_op(self, inputs, kernel):
        if keras.backend.backend() != "torch" or self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        outputs = ops.conv(
            inputs.permute(0, 3, 1, 2),  # a view, whose channels are last in memory, as PyTorch likes best
            kernel,
            self.strides,
            self.padding,
            "channels_first",
            self.dilation_rate,
        )
        return outputs.permute(0, 2, 3, 1)

    def call(self, inputs):
        if not self._products_are_faster(inputs):
            return super().call(inputs)
        weights = [self.kernel, self.bias] if self.use_bias else [self.kernel]
        outputs = _convolve(self.padding.upper(), inputs, *(ops.cast(weight, inputs.dtype) for weight in weights))
        return outputs if self.activation is None else self.activation(outputs)

    def _products_are_faster(self, inputs):
        """Whether they were in measurements, on a CPU with AMX and batches of 128."""
        if not on_tensorflow_cpu() or inputs.dtype != "bfloat16":
            return False
        rows, columns, channels = inputs.shape[1:]
        plain = self.strides == self.dilation_rate == (1, 1) and self.groups == 1
        if not plain or self.data_format != "channels_last" or rows is None or columns is None:
            return False
        return self.kernel_size == (1, 1) or 4 * rows * columns <= min(channels, self.filters)


def _convolve(padding, *tensors):
    """A convolution of inputs with a kernel at stride 1, and perhaps a bias, whose gradients are our own."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel, *bias):
        def gradients(upstream):
            of_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, strides=[1] * 4, padding=padding
            )
            # Not that of `bias_add`, which on the CPU is summed in bfloat16 and far off.
            of_bias = [tf.reduce_sum(upstream, axis=(0, 1, 2)) for _ in bias]
            return of_inputs, _kernel_gradient(inputs, upstream, kernel.shape, padding), *of_bias

        outputs = tf.nn.conv2d(inputs, kernel, 1, padding)
        return (tf.nn.bias_add(outputs, *bias) if bias else outputs), gradients

    return convolve(*tensors)


def _kernel_gradient(inputs, upstream, shape, padding):
    """For each place in the kernel what it saw (pixels, channels), transposed, times the gradient (pixels, filters)."""
    import tensorflow as tf

    height, width, channels, filters = shape
    if padding == "SAME":
        top, left = (height - 1) // 2, (width - 1) // 2
        inputs = tf.pad(inputs, [[0, 0], [top, height - 1 - top], [left, width - 1 - left], [0, 0]])
    rows, columns = upstream.shape[1:3]
    upstream = tf.reshape(upstream, (-1, filters))
    places = [(i, j) for i in range(height) for j in range(width)]
    seen = [tf.reshape(inputs[:, i : i + rows, j : j + columns], (-1, channels)) for i, j in places]
    return tf.reshape(tf.stack([tf.matmul(pixels, upstream, transpose_a=True) for pixels in seen]), shape)
