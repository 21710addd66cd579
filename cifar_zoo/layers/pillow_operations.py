"""Pillow's image operations for batches of images: the same integer results, computed in float32.

All functions take and return a float32 tensor of shape (images, height, width, channels) with integer values 0..255 and
1 or 3 channels.
"""

from keras import ops


def blend(degenerate, images, factor):
    """`Image.blend`: interpolates or extrapolates from `degenerate` to the images by `factor` (images,)."""
    factor = factor[:, None, None, None]
    # The small offset keeps a rounding error from taking an integer to the one below.
    return ops.floor(ops.clip(degenerate + factor * (images - degenerate) + 5e-4, 0, 255))


def gray(images):
    """Returns the luma (images, height, width, 1) of `Image.convert("L")`."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., i : i + 1] for i in range(3))
    return ops.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536)  # all below 2 ** 24: exact in float32


def brightness(images, factor):
    """`ImageEnhance.Brightness`: blends with black."""
    return blend(0.0, images, factor)


def color(images, factor):
    """`ImageEnhance.Color`: blends with the grayscale image."""
    return blend(gray(images), images, factor)


def contrast(images, factor):
    """`ImageEnhance.Contrast`: blends with the mean luma of the image."""
    mean = ops.mean(gray(images), axis=(1, 2), keepdims=True)
    return blend(ops.floor(mean + 0.5), images, factor)


def sharpness(images, factor):
    """`ImageEnhance.Sharpness`: blends with the image smoothed by a 3x3 filter, which leaves the border unchanged."""
    height, width = images.shape[1:3]
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = ops.floor((2 * (box + 4 * images[:, 1:-1, 1:-1]) + 13) / 26)  # weights 1/13, in the center 5/13; rounded
    smooth = ops.pad(smooth, ((0, 0), (1, 1), (1, 1), (0, 0)))
    row, column = ops.arange(height, dtype="int32")[:, None, None], ops.arange(width, dtype="int32")[:, None]
    inside = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return blend(ops.where(inside, smooth, images), images, factor)


def posterize(images, dropped):
    """`ImageOps.posterize`: sets the lowest `dropped` bits of each value to 0; `dropped` holds integers (images,)."""
    step = ops.cast(ops.left_shift(ops.ones_like(dropped), dropped), "float32")[:, None, None, None]
    return ops.floor(images / step) * step


def solarize(images, threshold):
    """`ImageOps.solarize`: inverts the values from `threshold` (images,) upward."""
    return ops.where(images < threshold[:, None, None, None], images, 255 - images)


def autocontrast(images):
    """`ImageOps.autocontrast`: stretches each channel to 0..255."""
    low, high = ops.min(images, axis=(1, 2), keepdims=True), ops.max(images, axis=(1, 2), keepdims=True)
    # The 0.5 keeps the quotient of integers from being an integer, so that a rounding error cannot change its floor.
    stretched = ops.floor((255 * (images - low) + 0.5) / ops.maximum(high - low, 1))
    return ops.where(high > low, stretched, images)


def equalize(images):
    """`ImageOps.equalize`: maps the values of each channel so that their histogram is as even as possible."""
    height, width, channels = images.shape[1:]
    pixels = height * width
    values = ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, pixels))
    # The histogram without a scatter: a matrix product counts the pairs of high and low hexadecimal digit.
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
