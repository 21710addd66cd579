"""The joins of FractalNet, with drop-path (Larsson et al. 2016, arXiv:1605.07648)."""

import keras
from keras import ops

from cifar_zoo.layers.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class FractalJoin(keras.layers.Layer):
    """The mean of the paths that meet; in training, of those that drop-path leaves (Larsson et al. 2016).

    Local drop-path drops each input of each image with `drop_probability`; if all were dropped, one of them, drawn
    uniformly, survives. Global drop-path leaves a single column of the network: `DrawColumn` draws it once for
    an image, and all joins receive it.

    Args:
        drop_probability: number in [0, 1].
        seed: integer or None. Seed of the draws.

    Call arguments:
        inputs: a list of tensors (batch, height, width, channels).
        column: None, or integers (batch,). At c >= 0 only `inputs[c]` of that image passes, or the mean of all if
            the join has no such input; at -1 drop-path is local.
        training: boolean. Outside training the result is the mean of all inputs.

    Returns: a tensor of the same shape and dtype as each input.

    Raises:
        ValueError: for a probability outside [0, 1] or anything but tensors of rank 4 and the same shape.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> paths = [np.full((2, 8, 8, 16), value) for value in (1.0, 2.0, 6.0)]
        >>> float(layers.FractalJoin()(paths)[0, 0, 0, 0])
        3.0
    """

    def __init__(self, drop_probability=0.15, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= drop_probability <= 1:
            raise ValueError(f"drop_probability must be in [0, 1], not {drop_probability}")
        self.drop_probability = drop_probability
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        if not isinstance(input_shape[0], (tuple, list)) or len({tuple(shape)[1:] for shape in input_shape}) > 1:
            raise ValueError(f"the inputs must be a list of tensors of the same shape, not of {input_shape}")
        self.input_spec = [keras.layers.InputSpec(ndim=4) for _ in input_shape]

    def call(self, inputs, column=None, training=False):
        if not training:
            return sum(inputs) / len(inputs)
        keep = self._survivors(len(inputs), ops.shape(inputs[0])[0])
        if column is not None:
            chosen = ops.arange(len(inputs), dtype="int32")[:, None] == column
            keep = ops.where(column < 0, keep, chosen | (column >= len(inputs)))
        share = ops.cast(keep, "float32")
        share = ops.cast(share / ops.sum(share, axis=0), inputs[0].dtype)[:, :, None, None, None]
        return sum(share[i] * path for i, path in enumerate(inputs))

    def _survivors(self, inputs, batch):
        """Which inputs of each image local drop-path leaves: booleans (inputs, batch)."""
        draw = keras.random.uniform((inputs, batch), dtype="float32", seed=self._generator)
        # The largest draw always survives: if all were to be dropped, it is any of them with the same probability.
        return (draw >= self.drop_probability) | (draw == ops.max(draw, axis=0))

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "drop_probability": self.drop_probability, "seed": self.seed}


@keras.saving.register_keras_serializable(package="cifar_zoo")
class DrawColumn(keras.layers.Layer):
    """Draw for each image whether drop-path is global, and if so which column is left (Larsson et al. 2016).

    Args:
        columns: number of columns of the network.
        probability: number in [0, 1], the share of the images for which drop-path is global.
        seed: integer or None. Seed of the draws.

    Call arguments:
        inputs: a tensor (batch, height, width, channels), of which only the batch size matters.
        training: boolean.

    Returns: int32 (batch,), for `FractalJoin`: a column, or -1 for local drop-path; at inference -1 everywhere.

    Raises:
        ValueError: for columns that are not a positive integer, a probability outside [0, 1], or inputs of another
            rank.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> [int(column) for column in layers.DrawColumn(columns=3)(np.ones((2, 8, 8, 16)))]
        [-1, -1]
    """

    def __init__(self, columns, probability=0.5, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in [0, 1], not {probability}")
        self.columns = integer("columns", columns)
        self.probability = probability
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs, training=False):
        batch = ops.shape(inputs)[0]
        local = ops.full((batch,), -1, dtype="int32")
        if not training:
            return local
        column = keras.random.randint((batch,), 0, self.columns, dtype="int32", seed=self._generator)
        drawn = keras.random.uniform((batch,), dtype="float32", seed=self._generator) < self.probability
        return ops.where(drawn, column, local)

    def compute_output_shape(self, input_shape):
        return (input_shape[0],)

    def compute_output_spec(self, inputs, training=False):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="int32")

    def get_config(self):
        own = {"columns": self.columns, "probability": self.probability, "seed": self.seed}
        return {**super().get_config(), **own}
