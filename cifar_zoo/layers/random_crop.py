"""Random crop, drawn for each image."""

import keras
from keras import ops

from cifar_zoo.checks import integer

PADDING_MODES = ("reflect", "constant")


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomCrop(keras.layers.Layer):
    """Pads each image and crops a window at a random position during training; at inference it takes the central crop.

    The central crop is taken without padding. Keras' own `RandomCrop` draws one position for the whole batch; this
    layer draws one for each image.

    Args:
        height: Integer. Height of the crop in pixels, at most that of the images.
        width: Integer. Width of the crop in pixels, at most that of the images.
        padding: Integer, at least 0. Number of pixels to add on each side.
        padding_mode: String. "reflect" mirrors the image at its border pixels, "constant" pads with `fill`.
        fill: Number, or a sequence with one number per channel. Fill value for `padding_mode="constant"`.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, rows, columns, channels) and any real dtype. Only the batch size may be
            unknown.
        training: Boolean. Whether to pad and crop at random.

    Returns:
        A tensor of shape (batch, height, width, channels) and the dtype of `images`.

    Raises:
        ValueError: If the height or width is not a positive integer, the padding is not an integer of at least 0, the
            padding mode is unknown, or the images are not of rank 4, smaller than the crop, or too small to be
            reflected by the padding.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(layers.RandomCrop(24, 24, padding=4)(images, training=True).shape)
        (2, 24, 24, 3)
    """

    def __init__(self, height, width, padding=0, padding_mode="reflect", fill=0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES}, not {padding_mode!r}")
        self.height = integer("height", height)
        self.width = integer("width", width)
        self.padding = integer("padding", padding, at_least=0)
        self.padding_mode = padding_mode
        self.fill = fill
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        rows, columns = input_shape[1:3]
        too_small = min(rows - self.height, columns - self.width) < 0
        if too_small or (self.padding_mode == "reflect" and self.padding >= min(rows, columns)):
            raise ValueError(
                f"cannot cut {self.height}x{self.width} out of {rows}x{columns} images with padding={self.padding}"
            )

    def call(self, images, training=False):
        rows, columns, channels = images.shape[1:]
        if not training:
            top, left = (rows - self.height) // 2, (columns - self.width) // 2
            return images[:, top : top + self.height, left : left + self.width]
        if not self.padding and (rows, columns) == (self.height, self.width):
            return images
        batch = ops.shape(images)[0]
        row, no_row = self._window(batch, rows, self.height)
        column, no_column = self._window(batch, columns, self.width)
        # One gather over the flattened batch pads and crops at once, in the dtype of the images.
        image = ops.arange(batch, dtype="int32")[:, None, None]
        place = (image * rows + row[:, :, None]) * columns + column[:, None, :]
        result = ops.take(ops.reshape(images, (-1, channels)), place, axis=0)
        if self.padding_mode == "reflect":
            return result
        outside = no_row[:, :, None, None] | no_column[:, None, :, None]
        return ops.where(outside, ops.cast(self.fill, result.dtype), result)

    def _window(self, batch, size, length):
        """Returns the rows of each image in its window, (batch, length), and which of them are outside of the image."""
        slack = size + 2 * self.padding - length
        start = keras.random.randint((batch, 1), 0, slack + 1, seed=self._generator) - self.padding
        wanted = start + ops.arange(length, dtype="int32")
        if self.padding_mode == "reflect":
            index = ops.abs(wanted)  # reflects at the first row...
            index = (size - 1) - ops.abs((size - 1) - index)  # ...and at the last one
        else:
            index = ops.clip(wanted, 0, size - 1)
        return index, index != wanted

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.height, self.width, input_shape[3])

    def get_config(self):
        own = {
            "height": self.height,
            "width": self.width,
            "padding": self.padding,
            "padding_mode": self.padding_mode,
            "fill": self.fill,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}
