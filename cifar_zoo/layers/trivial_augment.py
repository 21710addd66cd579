"""TrivialAugment with its wide augmentation space (Müller and Hutter 2021, arXiv:2103.10158)."""

import math

import keras
from keras import ops

from cifar_zoo.layers import pillow_operations as pillow
from cifar_zoo.layers.affine import about_center, warp

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
COUNT = len(OPERATIONS)
LEVELS = 31


@keras.saving.register_keras_serializable(package="cifar_zoo")
class TrivialAugmentWide(keras.layers.Layer):
    """Applies one random operation of random strength to each image during training (TrivialAugment, wide space).

    The operations are those of Pillow on integers, without interpolation: identity; shear by up to 0.99 and translation
    by up to 32 pixels along either axis; rotation by up to 135 degrees; brightness, color, contrast and sharpness by
    factors from 0.01 to 1.99; posterizing to 8 to 2 bits; solarizing with thresholds from 255 down to 0; autocontrast;
    equalization. For each image all operations are equally probable, and so are the 31 strengths and, where an
    operation has two directions, the directions. At inference the images are returned unchanged.

    A batch costs about one operation per image: each operation gets an equal part of the batch, up to rounding, and is
    computed for these images only.

    Args:
        fill: Number, or a sequence with one number per channel. Value of the pixels from outside of the image.
        seed: Integer or None. Seed of the random draws.

    Call arguments:
        images: A tensor of shape (batch, height, width, channels), with pixels 0..255 in any real dtype and 1 or 3
            channels. Only the batch size may be unknown.
        training: Boolean. Whether to augment the images.

    Returns:
        A tensor of the same shape and dtype as `images`. In training its values are integers, as float inputs are
        rounded first.

    Raises:
        ValueError: If the images are not of rank 4, smaller than 3x3 pixels, or have a number of channels other than 1
            or 3.

    Reference:
        Müller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021
        (arXiv:2103.10158).

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> images = np.zeros((2, 32, 32, 3), "uint8")
        >>> tuple(layers.TrivialAugmentWide(seed=0)(images, training=True).shape)
        (2, 32, 32, 3)
    """

    def __init__(self, fill=0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.fill = fill
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        height, width, channels = input_shape[1:]
        if channels not in (1, 3) or min(height, width) < 3:
            raise ValueError(f"images must be 3x3 or more, with 1 or 3 channels, not {height}x{width} with {channels}")

    def call(self, images, training=False):
        if not training:
            return images
        shape = tuple(images.shape[1:])
        chosen, row = self._groups(ops.shape(images)[0])
        pixels = ops.clip(ops.round(ops.cast(ops.take(images, chosen, axis=0), "float32")), 0, 255)
        level = keras.random.randint(ops.shape(chosen), 0, LEVELS, seed=self._generator)
        sign = 2 * keras.random.randint(ops.shape(chosen), 0, 2, seed=self._generator) - 1
        done = ops.reshape(operate(pixels, level, sign, self.fill), (-1, *shape))
        return ops.cast(ops.take(done, row, axis=0), images.dtype)

    def _groups(self, batch):
        """Assigns the images of a batch to the operations, by systematic sampling.

        Args:
            batch: Batch size.

        Returns:
            For each operation the indices of its images, (operations, group size), and for each image its flat index in
            that table, (batch,). Groups have the same size, so the last image of a group may be superfluous.
        """
        # `slot` and `start` are uniform, so `14 * slot + start` is uniform over the integers below `14 * batch`, and
        # each operation has `batch` of these.
        slot = ops.argsort(keras.random.uniform((batch,), dtype="float32", seed=self._generator))
        start = keras.random.randint((1,), 0, COUNT, seed=self._generator)
        operation = (COUNT * slot + start) // batch
        first = (ops.arange(COUNT, dtype="int32") * batch - start + COUNT - 1) // COUNT  # first slot of each operation
        size = (batch + COUNT - 1) // COUNT
        slots = ops.minimum(first[:, None] + ops.arange(size, dtype="int32"), batch - 1)
        return ops.take(ops.argsort(slot), slots), operation * size + slot - ops.take(first, operation)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "fill": self.fill, "seed": self.seed}


def operate(pixels, level, sign, fill):
    """Applies each operation to its own images. All operations have the same number of images.

    Args:
        pixels: Float32 tensor (operations, images, height, width, channels) with integer values 0..255.
        level: Integer tensor (operations, images). Strengths 0..30.
        sign: Integer tensor (operations, images). Directions, -1 or 1.
        fill: Number, or a sequence with one number per channel. Value of the pixels from outside of the image.

    Returns:
        A tensor of the same shape and dtype as `pixels`.
    """
    factor = 1 + 0.99 / 30 * ops.cast(sign * level, "float32")
    pointwise = [
        pillow.brightness(pixels[6], factor[6]),
        pillow.color(pixels[7], factor[7]),
        pillow.contrast(pixels[8], factor[8]),
        pillow.sharpness(pixels[9], factor[9]),
        pillow.posterize(pixels[10], (level[10] + 2) // 5),
        pillow.solarize(pixels[11], 255 - 8.5 * ops.cast(level[11], "float32")),
        pillow.autocontrast(pixels[12]),
        pillow.equalize(pixels[13]),
    ]
    return ops.concatenate([pixels[:1], move(pixels[1:6], level[1:6], sign[1:6], fill), ops.stack(pointwise)], axis=0)


def move(pixels, level, sign, fill):
    """Applies the five geometric operations in one call of `warp`. The arguments are those of `operate`."""
    height, width, channels = pixels.shape[2:]
    signed = ops.cast(sign * level, "float32")
    shear, angle = 0.99 / 30 * signed, math.radians(135 / 30) * signed
    shift = ops.cast(sign * (32 * level // 30), "float32")
    cos, sin, zero, one = ops.cos(angle[4]), ops.sin(angle[4]), ops.zeros_like(angle[4]), ops.ones_like(angle[4])
    straight = ((one, zero), (zero, one))
    # Shears leave the upper left corner in place.
    maps = [
        about_center(height, width, ((one, zero), (shear[0], one)), (zero, shear[0] * height / 2)),
        about_center(height, width, ((one, shear[1]), (zero, one)), (shear[1] * width / 2, zero)),
        about_center(height, width, straight, (zero, shift[2])),
        about_center(height, width, straight, (shift[3], zero)),
        about_center(height, width, ((cos, sin), (-sin, cos))),
    ]
    images = ops.reshape(pixels, (-1, height, width, channels))
    matrices = ops.reshape(ops.stack(maps), (-1, 2, 3))
    moved = warp(images, matrices, "nearest", "constant", fill)
    return ops.reshape(moved, (len(maps), -1, height, width, channels))
