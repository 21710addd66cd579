"""Affine transformations of images, with a different matrix for each image."""

import keras
from keras import ops

INTERPOLATIONS = ("bilinear", "nearest")
FILL_MODES = ("nearest", "constant")


def warp(images, matrices, interpolation="bilinear", fill_mode="nearest", fill=0):
    """Resamples images under affine maps from output to input coordinates.

    The output at `point` is the input at `matrix @ (*point, 1)`. A point is (row, column) in pixels; (0, 0) is the
    center of the first pixel.

    Args:
        images: Tensor of shape (batch, height, width, channels) and any real dtype. Only the batch size may be unknown.
        matrices: Tensor of shape (batch, 2, 3).
        interpolation: String. "bilinear", or "nearest" for the value of the nearest pixel.
        fill_mode: String. How to fill points outside the image: "nearest" repeats the border pixels, "constant" uses
            `fill`.
        fill: Number, or a sequence with one number per channel. Fill value for `fill_mode="constant"`.

    Returns:
        A tensor of the same shape and dtype as `images`. Integer results are rounded.
    """
    images = ops.convert_to_tensor(images)
    batch, (height, width, channels) = ops.shape(images)[0], images.shape[1:]
    flat = ops.reshape(images, (-1, channels))
    first = ops.arange(batch, dtype="int32")[:, None, None] * (height * width)

    def pixels(row, column):
        """Returns the pixels at integer positions (batch, height, width), gathered from the flattened batch."""
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
        # A point half-way between two pixels takes the later one. The extra 0.0001 keeps this choice independent of
        # rounding errors.
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
    """Returns the matrices of affine maps about the center of an image.

    Args:
        height: Integer. Height of the image in pixels.
        width: Integer. Width of the image in pixels.
        linear: The linear maps, as four tensors ((a, b), (c, d)) of the same shape (...).
        shift: Pair of numbers or of tensors of shape (...). Rows and columns, in pixels, to add to the mapped point.

    Returns:
        A tensor of shape (..., 2, 3), as `warp` takes it.
    """
    center = ((height - 1) / 2, (width - 1) / 2)
    rows = [
        ops.stack([a, b, middle + move - a * center[0] - b * center[1]], axis=-1)
        for (a, b), middle, move in zip(linear, center, shift, strict=True)
    ]
    return ops.stack(rows, axis=-2)
