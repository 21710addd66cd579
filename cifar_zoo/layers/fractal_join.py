"""Joins of FractalNet, with drop-path (Larsson et al. 2016, arXiv:1605.07648)."""

import keras
from keras import ops

from cifar_zoo.checks import integer


@keras.saving.register_keras_serializable(package="cifar_zoo")
class FractalJoin(keras.layers.Layer):
    """Averages the paths that meet at a join of FractalNet, with drop-path in training.

    Local drop-path drops each input of each image with `drop_probability`. If all inputs would be dropped, one of them,
    chosen uniformly, is kept. Global drop-path keeps a single column of the network: `DrawColumn` draws it once for
    each image and every join receives it. At inference the output is the mean of all inputs.

    Args:
        drop_probability: Number in [0, 1]. Probability of dropping an input under local drop-path.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        inputs: A list of tensors of the same shape (batch, height, width, channels).
        column: None, or integers of shape (batch,). A column c >= 0 keeps only `inputs[c]` of that image, or all inputs
            if the join has no such input. With -1, and with None for all images, drop-path is local.
        training: Boolean. Whether to apply drop-path.

    Returns:
        A tensor of the same shape and dtype as each input.

    Raises:
        ValueError: If the drop probability is outside [0, 1], or the inputs are not tensors of rank 4 and the same
            shape.

    Reference:
        Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016
        (arXiv:1605.07648).

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
        """Returns which inputs of each image local drop-path keeps: booleans (inputs, batch)."""
        draw = keras.random.uniform((inputs, batch), dtype="float32", seed=self._generator)
        # The input with the largest draw is always kept. If all would be dropped, each is equally likely to be it.
        return (draw >= self.drop_probability) | (draw == ops.max(draw, axis=0))

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "drop_probability": self.drop_probability, "seed": self.seed}


@keras.saving.register_keras_serializable(package="cifar_zoo")
class DrawColumn(keras.layers.Layer):
    """Draws for each image whether its drop-path is local or global, and for global drop-path which column is kept.

    Args:
        columns: Integer. Number of columns of the network.
        probability: Number in [0, 1]. Probability that drop-path is global for an image.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        inputs: A tensor of shape (batch, height, width, channels). Only its batch size is used.
        training: Boolean. Whether to draw columns.

    Returns:
        An int32 tensor of shape (batch,), to be passed to `FractalJoin` as `column`: the index of a column, or -1 for
        local drop-path. At inference all are -1.

    Raises:
        ValueError: If `columns` is not a positive integer, the probability is outside [0, 1], or the inputs are not of
            rank 4.

    Reference:
        Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016
        (arXiv:1605.07648).

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
