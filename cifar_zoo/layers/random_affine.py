"""Random rotation, shift, shear and zoom, drawn for each image."""

import math

import keras
from keras import ops

from cifar_zoo.layers.affine import FILL_MODES, INTERPOLATIONS, about_center, warp


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomAffine(keras.layers.Layer):
    """Randomly rotates, shifts, shears and zooms each image about its center during training.

    The parameters are drawn uniformly for each image and applied as one affine map. They have the meaning and the order
    that they have in Keras' `ImageDataGenerator`, with the shear in degrees: the image is rotated, then shifted,
    sheared and zoomed. At inference the images are returned unchanged.

    Args:
        rotation: Number. Largest angle in degrees, in either direction.
        shift: Number. Largest shift along each axis, in either direction, as a fraction of the height or width.
        shear: Number. Largest shear angle in degrees, in either direction, by which the columns are slanted.
        zoom: Number in [0, 1). The visible extent relative to the image, drawn for each axis, is in [1 - zoom, 1 +
            zoom].
        fill_mode: String. How to fill points outside the image: "nearest" repeats the border pixels, "constant" uses
            `fill`.
        fill: Number, or a sequence with one number per channel. Fill value for `fill_mode="constant"`.
        interpolation: String. "bilinear" or "nearest".
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels) and any real dtype. Only the batch size may be
            unknown.
        training: Boolean. Whether to transform the images.

    Returns:
        A tensor of the same shape and dtype as `images`. Integer results are rounded.

    Raises:
        ValueError: If a number is negative, `zoom` is 1 or more, the fill mode or interpolation is unknown, or the
            images are not of rank 4.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(layers.RandomAffine(rotation=15, shift=0.1, zoom=0.1)(images, training=True).shape)
        (2, 32, 32, 3)
    """

    def __init__(
        self,
        rotation=0.0,
        shift=0.0,
        shear=0.0,
        zoom=0.0,
        fill_mode="nearest",
        fill=0,
        interpolation="bilinear",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("rotation", rotation), ("shift", shift), ("shear", shear)):
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")
        if not 0 <= zoom < 1:
            raise ValueError(f"zoom must be in [0, 1), not {zoom}")
        if fill_mode not in FILL_MODES:
            raise ValueError(f"fill_mode must be one of {FILL_MODES}, not {fill_mode!r}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {INTERPOLATIONS}, not {interpolation!r}")
        self.rotation = rotation
        self.shift = shift
        self.shear = shear
        self.zoom = zoom
        self.fill_mode = fill_mode
        self.fill = fill
        self.interpolation = interpolation
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, images, training=False):
        if not training:
            return images
        batch, (height, width) = ops.shape(images)[0], images.shape[1:3]
        draw = keras.random.uniform((6, batch), -1.0, 1.0, dtype="float32", seed=self._generator)
        angle, slant = math.radians(self.rotation) * draw[0], math.radians(self.shear) * draw[1]
        rows, columns = self.shift * height * draw[2], self.shift * width * draw[3]
        zoom_rows, zoom_columns = 1 + self.zoom * draw[4], 1 + self.zoom * draw[5]
        # The matrices map output to input, so the order is reversed: zoom, shear, shift, and the rotation last.
        cos, sin = ops.cos(angle), ops.sin(angle)
        linear = (
            (cos * zoom_rows, -ops.sin(angle + slant) * zoom_columns),
            (sin * zoom_rows, ops.cos(angle + slant) * zoom_columns),
        )
        shift = (cos * rows - sin * columns, sin * rows + cos * columns)
        matrices = about_center(height, width, linear, shift)
        return warp(images, matrices, self.interpolation, self.fill_mode, self.fill)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {
            "rotation": self.rotation,
            "shift": self.shift,
            "shear": self.shear,
            "zoom": self.zoom,
            "fill_mode": self.fill_mode,
            "fill": self.fill,
            "interpolation": self.interpolation,
            "seed": self.seed,
        }
        return {**super().get_config(), **own}
