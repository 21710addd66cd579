"""Random rotation, shift, shear and zoom, other ones for each image."""

import math

import keras
from keras import ops

from cifar_zoo.layers.affine import FILL_MODES, INTERPOLATIONS, about_center, warp


@keras.saving.register_keras_serializable(package="cifar_zoo")
class RandomAffine(keras.layers.Layer):
    """Rotate, shift, shear and zoom each image about its center by one affine map; at inference pass it on.

    Each number is drawn uniformly from a range around none. They mean what they mean in Keras' `ImageDataGenerator`,
    shear in degrees included, and act in its order: rotated first, then shifted, sheared and zoomed.

    Args:
        rotation: degrees, the largest angle in either direction.
        shift: share of the side, the largest shift along each axis in either direction.
        shear: degrees, the largest angle in either direction by which columns are slanted.
        zoom: the part of the image that is seen is drawn from [1 - zoom, 1 + zoom], for each axis on its own.
        fill_mode: what surrounds an image: "nearest", its border carried on, or "constant", the color `fill`.
        fill: number, or one for each channel.
        interpolation: "bilinear" or "nearest".
        seed: integer or None. Seed of the draws.

    Call arguments:
        images: a tensor (batch, height, width, channels) of any real dtype; only the batch may be unknown.
        training: boolean.

    Returns: a tensor of the same shape and dtype; integers are rounded.

    Raises:
        ValueError: for a negative number, a zoom of 1 or more, an unknown fill mode or interpolation, or images of
            another rank.

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
        # From the result to the image, so against the order: the zoom, the shear, the shift, and the rotation last.
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
