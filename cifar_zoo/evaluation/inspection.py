"""A look inside of trained networks: where they look, what their layers give, and which ReLUs are dead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.distribution import predict
from cifar_zoo.backend.gradients import value_and_gradient
from cifar_zoo.checks import integer
from cifar_zoo.data.images import center_crop
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation.outputs import channels_and_classes, logits_model

_BATCH = 32  # images a step: the outputs of many layers are in memory together


def grad_cam(
    model: keras.Model, images: np.ndarray, classes: np.ndarray | None = None, *, layer: str | None = None
) -> np.ndarray:
    """Compute where a network looks: the Grad-CAM heat map of each image for a class.

    Args:
        model: A functional or Sequential model from (batch, height, width, channels) pixels 0..255 to class scores.
        images: Pixels 0..255 (n, rows, columns, channels), cropped to the center of the network's input size.
        classes: Integers (n,), the class that each map explains. None: the predicted classes.
        layer: Name of the layer whose feature map is weighted. None: the last one with a map of more than one position.

    Returns:
        float32 (n, height, width) of the network's input size, the feature map's resolution enlarged bilinearly: 0
        where nothing speaks for the class, 1 where most does. All 0 if nothing does anywhere.

    Raises:
        CifarZooError: If the network has no such layer, its class scores are not a function of that layer alone, or a
            class or the images do not fit the network.

    Reference: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        2017 (arXiv:1610.02391).
    """
    _, count = channels_and_classes(model)
    x = center_crop(np.asarray(images), *model.input_shape[1:3])
    if classes is not None:
        classes = np.asarray(classes)
        if classes.shape != (len(x),) or classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= count:
            raise CifarZooError(f"classes must be {len(x)} integers from 0 to {count - 1}, not {classes!s:.100}")
    logits, _ = logits_model(model)
    chosen = _find_layer(logits, layer, model.name)
    try:
        trunk = keras.Model(logits.inputs[0], chosen.output)
        head = keras.Model(chosen.output, logits.outputs[0])
    except (AttributeError, ValueError) as error:
        raise CifarZooError(
            f"{model.name}: its class scores are not a function of the layer {chosen.name!r} alone; name a later layer"
        ) from error
    maps = []
    for start in range(0, len(x), _BATCH):
        part = slice(start, start + _BATCH)
        features = np.asarray(predict(trunk, x[part], _BATCH), "float32")

        def score(tensor: Any, part: slice = part) -> Any:
            scores = head(tensor, training=False)
            of = keras.ops.argmax(scores, axis=-1) if classes is None else keras.ops.convert_to_tensor(classes[part])
            # Each image's score depends on its own features only, so that one sum has the gradients of all.
            return keras.ops.sum(scores * keras.ops.one_hot(of, count, dtype=scores.dtype)), scores

        _, gradient = value_and_gradient(score, features)
        weights = gradient.mean(axis=(1, 2), keepdims=True)
        maps.append(np.maximum((weights * features).sum(axis=-1), 0))
    heat = _enlarged(np.concatenate(maps), *x.shape[1:3])
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), np.finfo("float32").tiny)


def _find_layer(model: keras.Model, name: str | None, of: str) -> keras.layers.Layer:
    """Return the layer of that name, or the last one that gives a feature map of more than one position."""
    maps = {}
    for layer in model.layers:
        shape = getattr(getattr(layer, "output", None), "shape", ())
        if len(shape) == 4 and shape[1:3] != (1, 1) and not isinstance(layer, keras.layers.InputLayer):
            maps[layer.name] = layer
    if name is None and maps:
        return list(maps.values())[-1]
    if name not in maps:
        which = "no layer" if name is None else f"no layer {name!r}"
        raise CifarZooError(f"{of} has {which} that gives feature maps; there are {', '.join(maps) or 'none'}"[:500])
    return maps[name]


def _enlarged(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Maps (n, rows, columns) enlarged bilinearly to (n, height, width)."""
    from PIL import Image

    return np.stack(
        [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR)) for one in maps]
    )


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Show a heat map over an image: red where the map is 1, the image in gray where it is 0.

    Args:
        image: uint8 (height, width, channels).
        heat: float (height, width) in 0..1.

    Returns: uint8 (height, width, 3).
    """
    gray = np.repeat(image.astype("float32").mean(axis=-1, keepdims=True), 3, axis=-1)
    # From blue over yellow to red, as much as the map has to say.
    red, green, blue = np.minimum(2 * heat, 1), np.minimum(2 * heat, 2 - 2 * heat), 0.3 * (1 - heat)
    color = 255 * np.stack([red, green, blue], axis=-1)
    strength = 0.6 * heat[..., None]
    return np.rint((1 - strength) * gray + strength * color).astype("uint8")


def outputs_of(model: keras.Model, layers: Sequence[str], images: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield the outputs of layers for images, in batches.

    Args:
        model: A functional or Sequential model.
        layers: Names of layers.
        images: Pixels 0..255 (n, rows, columns, channels), cropped to the center of the network's input size.

    Returns:
        An iterator over lists of arrays (batch, ...), one for each layer.

    Raises:
        CifarZooError: If there is no such layer, or the images are too small.
    """
    names = [each.name for each in model.layers]
    for layer in layers:
        if layer not in names:
            raise CifarZooError(f"{model.name} has no layer {layer!r}; there are {', '.join(names)}"[:500])
    x = center_crop(np.asarray(images), *model.input_shape[1:3])
    part = keras.Model(model.inputs[0], [model.get_layer(layer).output for layer in layers])
    for start in range(0, len(x), _BATCH):
        found = predict(part, x[start : start + _BATCH], _BATCH)
        yield found if isinstance(found, list) else [found]  # Keras returns a single output without the list


def activation_histogram(
    model: keras.Model, layer: str, images: np.ndarray, bins: int = 100, range: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Count how often a layer gives which values.

    Args:
        model: A functional or Sequential model.
        layer: Name of the layer.
        images: Pixels 0..255 (n, rows, columns, channels).
        bins: Integer. Number of bins.
        range: The lowest and the highest value that are counted. None: those that occur, which takes a second pass over
            the images.

    Returns:
        The number of values in each bin, integers (bins,), and the edges of the bins (bins + 1,), as `np.histogram`.

    Raises:
        CifarZooError: If there is no such layer, or the images are too small.
    """
    bins = integer("bins", bins)
    if range is None:
        extremes = [(float(part.min()), float(part.max())) for (part,) in outputs_of(model, [layer], images)]
        range = min(low for low, _ in extremes), max(high for _, high in extremes)
    edges = np.histogram_bin_edges([], bins, range)
    counts = np.zeros(bins, int)
    for (part,) in outputs_of(model, [layer], images):
        counts += np.histogram(part, edges)[0]
    return counts, edges


@dataclass(frozen=True)
class ReluFacts:
    """What the ReLUs of a layer do for a set of images.

    Attributes:
        layer: Name of the layer.
        units: Number of channels of a feature map, or of values of a dense layer.
        dead: Number of units that are 0 for all images, at all positions.
        zeros: Fraction of the values that are 0, in 0..1.
    """

    layer: str
    units: int
    dead: int
    zeros: float


def dead_relus(model: keras.Model, images: np.ndarray) -> list[ReluFacts]:
    """Find the units whose ReLU is 0 for all images, which no gradient reaches.

    Args:
        model: A functional or Sequential model.
        images: Pixels 0..255 (n, rows, columns, channels), cropped to the center of the network's input size.

    Returns:
        A list of `ReluFacts` for the layers that are a ReLU, or have one as their activation, in their order.

    Raises:
        CifarZooError: If the network has no such layer, or the images are too small.
    """
    names = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu
    ]
    if not names:
        raise CifarZooError(f"{model.name} has no layer that is a ReLU or has one as its activation")
    alive: dict[str, Any] = {}
    zeros, values = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for parts in outputs_of(model, names, images):
        for name, part in zip(names, parts, strict=True):
            positive = part > 0
            alive[name] = positive.reshape(-1, part.shape[-1]).any(axis=0) | alive.get(name, False)
            zeros[name] += positive.size - int(positive.sum())
            values[name] += positive.size
    return [ReluFacts(name, len(alive[name]), int((~alive[name]).sum()), zeros[name] / values[name]) for name in names]


def first_filters(model: keras.Model) -> np.ndarray:
    """The filters of the first convolution as images.

    Args:
        model: A functional or Sequential model.

    Returns:
        uint8 (filters, height, width, channels): each filter scaled linearly so that 0 is mid-gray (128) and its
        largest weight by magnitude is 1 or 255.

    Raises:
        CifarZooError: If the network has no convolution of images with 1 or 3 channels.
    """
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4 and kernel.shape[2] in (1, 3):
            filters = keras.ops.convert_to_numpy(kernel).transpose(3, 0, 1, 2)
            largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
            return np.rint(128 + 127 * filters / np.maximum(largest, np.finfo("float32").tiny)).astype("uint8")
    raise CifarZooError(f"{model.name} has no convolution of images with 1 or 3 channels")


def tiled(images: np.ndarray, columns: int = 16) -> np.ndarray:
    """Arrange small images in a grid with a white line between them.

    Args:
        images: uint8 (n, height, width, channels).
        columns: Integer. Images in a row.

    Returns: uint8 (rows * (height + 1) + 1, columns * (width + 1) + 1, channels).
    """
    n, height, width, channels = images.shape
    columns = min(integer("columns", columns), n)
    rows = -(-n // columns)
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 255, "uint8")
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + 1) + 1, (number % columns) * (width + 1) + 1
        grid[top : top + height, left : left + width] = image
    return grid
