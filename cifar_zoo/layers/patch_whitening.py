"""The whitening first convolution of fast CIFAR-10 networks (Jordan 2024, arXiv:2404.00498)."""

import keras
import numpy as np
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class PatchWhitening(keras.layers.Layer):
    """A convolution whose filters are the principal directions of small patches, at unit variance, and their negatives.

    The kernel is not trained: `adapt` fits it to images, as in the preprocessing layers of Keras. Only the bias
    learns. A network that begins with it has nothing to learn about how neighboring pixels and colors go together
    (Jordan 2024, arXiv:2404.00498, after Page 2019).

    It computes in float32 in any case, because the smallest differences between pixels become the largest here, and
    gives its result in the layer's own precision.

    Args:
        size: side of the patches in pixels.
        epsilon: number that is added to the variances before they are divided by, above 0.

    Call arguments:
        inputs: a tensor (batch, height, width, channels).

    Returns: a tensor (batch, height - size + 1, width - size + 1, 2 * size * size * channels).

    Raises:
        ValueError: for a size that is not a positive integer, an epsilon that is not positive, or inputs of another
            rank.

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
        super().__init__(autocast=False, **kwargs)  # which would round the inputs
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
        """Whether the kernel has been fitted: its second half is the first with the other sign."""
        first, second = np.split(ops.convert_to_numpy(self.kernel), 2, axis=-1)
        return bool(np.all(first == -second))

    def adapt(self, inputs):
        """Fit the kernel to images (n, height, width, channels), as this layer sees them."""
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
        for start in range(0, len(inputs), 500):  # not all at once: patches take more memory than their images
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
