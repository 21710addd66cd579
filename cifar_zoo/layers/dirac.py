"""An initializer that lets a convolution begin by passing its input on."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class Dirac(keras.initializers.Initializer):
    """Kernels whose first filters give the input's channels as they are; all others are random (arXiv:2404.00498).

    The random ones are uniform in +-1/sqrt(inputs), where the inputs are the values under the window.

    Args:
        seed: integer or None. Seed of the draws.

    Call arguments:
        shape: of a kernel (height, width, channels, filters).

    Returns: a tensor of that shape.

    Raises:
        ValueError: for another number of dimensions.

    Example:
        >>> import keras, numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
        >>> conv = keras.layers.Conv2D(16, 3, padding="same", kernel_initializer=layers.Dirac())
        >>> outputs = keras.ops.convert_to_numpy(conv(images))
        >>> bool(np.allclose(outputs[..., :3], images, atol=1e-5))
        True
    """

    def __init__(self, seed=None):
        self._random = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed)

    def __call__(self, shape, dtype=None):
        if len(shape) != 4:
            raise ValueError(f"Dirac is for kernels (height, width, channels, filters), not {tuple(shape)}")
        height, width, channels, filters = shape
        kernel = self._random(shape, dtype=dtype)
        passing = min(channels, filters)
        identity = np.zeros((height, width, channels, passing), "float32")
        identity[height // 2, width // 2, range(passing), range(passing)] = 1
        return ops.concatenate([ops.cast(identity, kernel.dtype), kernel[..., passing:]], axis=-1)

    def get_config(self):
        return {"seed": self._random.seed}
