"""Whitening first convolution for fast training on CIFAR-10 (Jordan 2024, arXiv:2404.00498)."""

import keras
import numpy as np
from keras import ops

from cifar_zoo.backend.values import to_numpy
from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PatchWhitening(keras.layers.Layer):
    """Whitens image patches by a convolution whose kernel is fitted to images with `adapt` and not trained.

    The filters are the principal directions of small patches, scaled to unit variance, followed by their negatives. As
    in the preprocessing layers of Keras, `adapt` fits them to images; only the bias is trained. A network that starts
    with this layer does not have to learn how adjacent pixels and colors are correlated.

    The layer computes in float32 under every dtype policy, because whitening amplifies the smallest differences between
    pixels the most. The outputs are in the compute dtype of the layer.

    Args:
        size: Integer. Side of the patches in pixels.
        epsilon: Positive number, added to the variances before dividing by them.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels).

    Returns:
        A tensor of shape (batch, height - size + 1, width - size + 1, 2 * size * size * channels).

    Raises:
        ValueError: If `size` is not a positive integer, `epsilon` is not positive, or the inputs are not of rank 4.

    References:
        Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024 (arXiv:2404.00498).
        Page, "How to Train Your ResNet 8: Bag of Tricks", 2019.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.random.default_rng(0).normal(size=(100, 32, 32, 3))
        >>> whitening = layers.PatchWhitening()
        >>> whitening.adapt(images)
        >>> tuple(whitening(images).shape)
        (100, 31, 31, 24)
    """

    def __init__(self, size=2, epsilon=5e-4, **kwargs):
        super().__init__(autocast=False, **kwargs)  # autocast would round the inputs
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, not {epsilon}")
        self.size = integer("size", size)
        self.epsilon = epsilon
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        channels = input_shape[-1]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        filters = 2 * self.size**2 * channels
        self.kernel = self.add_weight(
            shape=(self.size, self.size, channels, filters), trainable=False, autocast=False, name="kernel"
        )
        self.bias = self.add_weight(shape=(filters,), initializer="zeros", autocast=False, name="bias")

    @property
    def adapted(self):
        """Whether the kernel has been fitted: its second half is then the negative of its first half."""
        first, second = np.split(to_numpy(self.kernel), 2, axis=-1)
        return bool(np.all(first == -second))

    def adapt(self, inputs):
        """Fits the kernel to images.

        Args:
            inputs: Array of shape (n, height, width, channels): images as they reach this layer in the network.

        Raises:
            ValueError: If the array is not of that shape, or the images are smaller than a patch.
        """
        inputs = np.asarray(inputs)
        if not self.built:
            self.build(inputs.shape)
        if inputs.ndim != 4 or inputs.shape[-1] != self.kernel.shape[2] or min(inputs.shape[1:3]) < self.size:
            raise ValueError(
                f"inputs must be (n, height, width, {self.kernel.shape[2]}) with sides from {self.size}, "
                f"not {inputs.shape}"
            )
        size, (rows, columns) = self.size, inputs.shape[1:3]
        values = self.kernel.shape[-1] // 2
        products, count = np.zeros((values, values)), 0
        for start in range(0, len(inputs), 500):  # in chunks, because patches take more memory than their images
            chunk = inputs[start : start + 500]
            seen = [
                chunk[:, i : rows - size + 1 + i, j : columns - size + 1 + j] for i in range(size) for j in range(size)
            ]
            patches = np.concatenate(seen, axis=-1).reshape(-1, values).astype("float64")
            products += patches.T @ patches
            count += len(patches)
        variances, directions = np.linalg.eigh(products / count)
        filters = (directions / np.sqrt(variances + self.epsilon))[:, ::-1]
        self.kernel.assign(np.concatenate([filters, -filters], axis=-1).reshape(self.kernel.shape))

    def call(self, inputs):
        inputs, kernel = ops.cast(inputs, "float32"), ops.cast(self.kernel, "float32")
        outputs = ops.conv(inputs, kernel, padding="valid", data_format="channels_last")
        return ops.cast(outputs + ops.cast(self.bias, "float32"), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        rows, columns = (side and side - self.size + 1 for side in (rows, columns))
        return (batch, rows, columns, 2 * self.size**2 * channels)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "epsilon": self.epsilon}
