"""Affine maps of images, another one for each image."""

import keras
from keras import ops

INTERPOLATIONS = ("bilinear", "nearest")
FILL_MODES = ("nearest", "constant")


def warp(images, matrices, interpolation="bilinear", fill_mode="nearest", fill=0):
    """Resample images: what is at `point` in the result comes from `matrix @ (point, 1)` of the image.

    A point is (row, column) in pixels; (0, 0) is the center of the first pixel.

    Args:
        images: a tensor (batch, height, width, channels) of any real dtype; only the batch may be unknown.
        matrices: a tensor (batch, 2, 3).
        interpolation: "bilinear", or "nearest" for the value of the nearest pixel.
        fill_mode: what surrounds an image: "nearest", its border carried on, or "constant", the color `fill`.
        fill: number, or one for each channel.

    Returns: a tensor of the shape and dtype of `images`; integers are rounded.
    """
    images = ops.convert_to_tensor(images)
    batch, (height, width, channels) = ops.shape(images)[0], images.shape[1:]
    flat = ops.reshape(images, (-1, channels))
    first = ops.arange(batch, dtype="int32")[:, None, None] * (height * width)

    def pixels(row, column):
        """The pixels at whole-numbered places (batch, height, width), by one gather over the flattened batch."""
        near_row, near_column = ops.clip(row, 0, height - 1), ops.clip(column, 0, width - 1)
        place = first + ops.cast(near_row * width + near_column, "int32")
        found = ops.take(flat, place, axis=0)
        if fill_mode == "nearest":
            return found
        outside = (row != near_row) | (column != near_column)
        return ops.where(outside[..., None], ops.cast(fill, found.dtype), found)

    m = ops.cast(matrices, "float32")[:, :, :, None, None]
    i, j = ops.arange(height, dtype="float32")[:, None], ops.arange(width, dtype="float32")
    row = m[:, 0, 0] * i + m[:, 0, 1] * j + m[:, 0, 2]
    column = m[:, 1, 0] * i + m[:, 1, 1] * j + m[:, 1, 2]
    if interpolation == "nearest":
        # Half-way between two pixels it is the later one; the tiny surplus keeps rounding errors out of that choice.
        return pixels(ops.floor(row + 0.5001), ops.floor(column + 0.5001))
    top, left = ops.floor(row), ops.floor(column)
    down, right = (row - top)[..., None], (column - left)[..., None]

    def between(a, b, share):
        a = ops.cast(a, "float32")
        return a + share * (ops.cast(b, "float32") - a)

    upper = between(pixels(top, left), pixels(top, left + 1), right)
    lower = between(pixels(top + 1, left), pixels(top + 1, left + 1), right)
    result = between(upper, lower, down)
    if keras.backend.is_float_dtype(images.dtype):
        return ops.cast(result, images.dtype)
    return ops.cast(ops.round(result), images.dtype)


def about_center(height, width, linear, shift=(0.0, 0.0)):
    """The matrices (..., 2, 3) of maps about the center of an image.

    Args:
        height, width: of the image.
        linear: the four tensors ((a, b), (c, d)) of the linear maps, all of one shape (...).
        shift: rows and columns added to the point that it gives, two numbers or tensors (...).
    """
    center = ((height - 1) / 2, (width - 1) / 2)
    rows = [
        ops.stack([a, b, middle + move - a * center[0] - b * center[1]], axis=-1)
        for (a, b), middle, move in zip(linear, center, shift, strict=True)
    ]
    return ops.stack(rows, axis=-2)
