"""Pillow's operations on images, for many images at once: the same whole numbers, by arithmetic in float32.

All take and give a float32 tensor of whole numbers 0..255 (images, height, width, channels) of 1 or 3 channels.
"""

from keras import ops


def blend(degenerate, images, factor):
    """`Image.blend`: from `degenerate` (factor 0) to the images (1) and beyond; `factor` is (images,)."""
    factor = factor[:, None, None, None]
    # A tiny surplus, so that rounding errors take no whole number to the one below.
    return ops.floor(ops.clip(degenerate + factor * (images - degenerate) + 5e-4, 0, 255))


def gray(images):
    """The brightness (images, height, width, 1) that `convert("L")` gives."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., i : i + 1] for i in range(3))
    return ops.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536)  # all below 2 ** 24: exact


def brightness(images, factor):
    """`ImageEnhance.Brightness`."""
    return blend(0.0, images, factor)


def color(images, factor):
    """`ImageEnhance.Color`."""
    return blend(gray(images), images, factor)


def contrast(images, factor):
    """`ImageEnhance.Contrast`: about the mean of the whole image's brightness."""
    mean = ops.mean(gray(images), axis=(1, 2), keepdims=True)
    return blend(ops.floor(mean + 0.5), images, factor)


def sharpness(images, factor):
    """`ImageEnhance.Sharpness`: about the image smoothed by a 3x3 filter, which leaves the border as it is."""
    height, width = images.shape[1:3]
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = ops.floor((2 * (box + 4 * images[:, 1:-1, 1:-1]) + 13) / 26)  # the middle weighs 5 of 13; rounded
    smooth = ops.pad(smooth, ((0, 0), (1, 1), (1, 1), (0, 0)))
    row, column = ops.arange(height, dtype="int32")[:, None, None], ops.arange(width, dtype="int32")[:, None]
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return blend(ops.where(inside, smooth, images), images, factor)


def posterize(images, dropped):
    """`ImageOps.posterize`: the last `dropped` bits, integers (images,), become 0."""
    step = ops.cast(ops.left_shift(ops.ones_like(dropped), dropped), "float32")[:, None, None, None]
    return ops.floor(images / step) * step


def solarize(images, threshold):
    """`ImageOps.solarize`: from `threshold` (images,) on, pixels are inverted."""
    return ops.where(images < threshold[:, None, None, None], images, 255 - images)


def autocontrast(images):
    """`ImageOps.autocontrast`: each channel is stretched to 0..255."""
    low, high = ops.min(images, axis=(1, 2), keepdims=True), ops.max(images, axis=(1, 2), keepdims=True)
    # Half of the last place over the quotient of whole numbers, so that no rounding error can take it below.
    stretched = ops.floor((255 * (images - low) + 0.5) / ops.maximum(high - low, 1))
    return ops.where(high > low, stretched, images)


def equalize(images):
    """`ImageOps.equalize`: each channel's values are spread to a histogram as even as can be."""
    height, width, channels = images.shape[1:]
    pixels = height * width
    values = ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, pixels))
    # A histogram without scatter: how often each pair of hexadecimal digits comes up, as a product of matrices.
    high, low = ops.floor(values / 16), values % 16
    high, low = (ops.one_hot(ops.cast(digit, "int32"), 16, dtype="float32") for digit in (high, low))
    histogram = ops.reshape(ops.matmul(ops.transpose(high, (0, 2, 1)), low), (-1, 256))
    below = ops.cumsum(histogram, axis=-1) - histogram
    brightest = ops.sum(ops.cast(values == ops.max(values, axis=-1, keepdims=True), "float32"), axis=-1, keepdims=True)
    step = ops.floor((pixels - brightest + 0.5) / 255)
    table = ops.floor((below + ops.floor(step / 2) + 0.5) / ops.maximum(step, 1))
    place = ops.arange(ops.shape(values)[0], dtype="int32")[:, None] * 256 + ops.cast(values, "int32")
    spread = ops.minimum(ops.take(ops.reshape(table, (-1,)), place), 255)
    spread = ops.where(step > 0, spread, values)
    return ops.transpose(ops.reshape(spread, (-1, channels, height, width)), (0, 2, 3, 1))
