"""Random crop, another one for each picture."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomCrop(keras.layers.Layer):
    """Pad by reflection, then cut out a window at a place drawn for each picture; at inference the central one.

    (Keras' own `RandomCrop` draws one place for the whole batch.)

    Args:
        height, width: size of the result, at most that of the padded picture.
        padding: pixels of reflection on each side; at inference there are none.
        seed: integer or None. Seed of the draws.

    Call arguments:
        pictures: a tensor (batch, rows, columns, channels) of any dtype; rows and columns must be known.
        training: boolean.

    Returns: a tensor (batch, height, width, channels) of the same dtype.
    """

    def __init__(self, height, width, padding=0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.height = height
        self.width = width
        self.padding = padding
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        rows, columns = input_shape[1:3]
        slack = min(rows - self.height, columns - self.width)
        if slack < 0 or self.padding >= min(rows, columns):
            raise ValueError(
                f"cannot cut {self.height}x{self.width} out of {rows}x{columns} pictures with padding={self.padding}"
            )

    def call(self, pictures, training=False):
        rows, columns = pictures.shape[1:3]
        if not training:
            top, left = (rows - self.height) // 2, (columns - self.width) // 2
            return pictures[:, top : top + self.height, left : left + self.width]
        if not self.padding and (rows, columns) == (self.height, self.width):
            return pictures
        batch, channels = ops.shape(pictures)[0], pictures.shape[3]
        row = self._indices(batch, rows, self.height)
        column = self._indices(batch, columns, self.width)
        # One gather over the flattened batch does padding and crop at once, on integers as they come.
        place = (ops.arange(batch)[:, None, None] * rows + row[:, :, None]) * columns + column[:, None, :]
        return ops.take(ops.reshape(pictures, (-1, channels)), place, axis=0)

    def _indices(self, batch, size, window):
        """For each picture, which of `size` rows make up the window: integers (batch, window)."""
        slack = size + 2 * self.padding - window
        start = keras.random.randint((batch, 1), 0, slack + 1, seed=self._generator) - self.padding
        index = ops.abs(start + ops.arange(window))  # reflects at the first row...
        return (size - 1) - ops.abs((size - 1) - index)  # ...and at the last one

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self):
        own = {"height": self.height, "width": self.width, "padding": self.padding, "seed": self.seed}
        return {**super().get_config(), **own}
