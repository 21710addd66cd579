"""What a network costs, layer by layer, by the shapes in its graph: nothing is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Unpack

import keras

from cifar_zoo.backend.abstract import without_memory
from cifar_zoo.errors import CifarZooError
from cifar_zoo.layers import LocalResponseNormalization
from cifar_zoo.layers.sublayers import sublayers
from cifar_zoo.registry import Options, create_model


@dataclass(frozen=True)
class LayerFacts:
    """What one layer of a network costs for one image.

    Attributes:
        name: Name of the layer.
        kind: Name of its class.
        output_shape: Shape of its first output without the batch.
        params: Number of parameters, batch-norm statistics included.
        multiply_adds: Number of multiply-adds in convolutions and matrix products. Normalization, pooling and
            activations count as 0.
        activations: Number of values in its outputs.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    multiply_adds: int
    activations: int


def abstract_model(name: str, /, **options: Unpack[Options]) -> keras.Model:
    """Build a registered network by `without_memory`.

    Args:
        name: The registered name.
        **options: Those of the constructor, except weights.

    Returns:
        A `keras.Model` that can be inspected but not called.

    Raises:
        CifarZooError: If no network has this name, or a value cannot be used.
    """
    return without_memory(lambda: create_model(name, **options))


def layer_table(model: keras.Model | str) -> list[LayerFacts]:
    """What each layer of a network costs for one image.

    Args:
        model: A functional or Sequential model with a known input shape, or a registered name.

    Returns:
        A list of `LayerFacts`, in the order of the layers.

    Raises:
        CifarZooError: If a height or width of the input is None.
    """
    if isinstance(model, str):
        model = abstract_model(model)
    if None in model.input_shape[1:]:
        raise CifarZooError(f"{model.name} takes {model.input_shape[1:]}: costs are counted for a known input_shape")
    rows = []
    for layer in model.layers:
        outputs = layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
        shape = tuple(outputs[0].shape[1:])
        rows.append(
            LayerFacts(
                name=layer.name,
                kind=type(layer).__name__,
                output_shape=shape,
                params=sum(math.prod(weight.shape) for weight in layer.weights),
                multiply_adds=_multiply_adds(layer, shape),
                activations=sum(math.prod(output.shape[1:]) for output in outputs),
            )
        )
    return rows


def _multiply_adds(layer: keras.layers.Layer, shape: tuple[int, ...]) -> int:
    """Multiply-adds of a layer: every kernel of a convolution or dense layer is used once at each output position."""
    total = 0
    for part in (layer, *sublayers(layer)):
        if any(inner.weights for inner in sublayers(part)):
            continue  # its parts are counted instead
        if part is not layer:
            shape = part.compute_output_shape(part.get_build_config()["input_shape"])[1:] if part.weights else ()
        kernels = sum(math.prod(weight.shape) for weight in part.weights if len(weight.shape) > 1)
        total += math.prod(shape[:-1]) * kernels
    return total


def sandbox_flops(model: keras.Model) -> int:
    """Operations for one image by the formula behind the table of github.com/kaizouman/tensorsandbox.

    A multiplication, an addition and a bias count as 1 each, a ReLU as 2, and local response normalization as 36 for
    each value. Pooling, dropout and softmax count as 0. In that table a ReLU follows every convolution, the one to the
    class scores included.

    Args:
        model: A network of that table: convolutions and dense layers with bias.

    Returns:
        The number of operations.
    """
    total = 0
    for layer in model.layers:
        if layer.weights:
            neurons, kernel = math.prod(layer.output.shape[1:]), layer.kernel.shape
            total += neurons * (2 * math.prod(kernel[:-1]) + 1)
            total += 2 * neurons * (len(kernel) == 4 or layer.activation is keras.activations.relu)
        elif isinstance(layer, LocalResponseNormalization):
            total += 36 * math.prod(layer.output.shape[1:])
    return total
