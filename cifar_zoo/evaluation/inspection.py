"""What a network costs, layer by layer, from its graph: shapes suffice, nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Unpack

import keras

from cifar_zoo.errors import CifarZooError
from cifar_zoo.layers import LocalResponseNormalization
from cifar_zoo.layers.sublayers import sublayers
from cifar_zoo.registry import Options, create_model


@dataclass(frozen=True)
class LayerFacts:
    """One layer of a network, for one image.

    Attributes:
        name: of the layer.
        kind: its class.
        output_shape: without the batch; of several outputs the first.
        parameters: number of weights, batch-norm statistics included.
        multiply_adds: of its convolutions and matrix products. Normalization, pooling and activations count nothing.
        activations: number of values that it gives.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activations: int


def without_memory(build: Callable[[], keras.Model]) -> keras.Model:
    """Build a model whose weights have shapes and take no memory: for looking at, not for use."""

    def noted() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):  # in which a variable is noted and not made
            return build()

    # Keras would make the noted variables when another scope ends. Its notes are those of a thread, and end with it.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(noted).result()


def abstract_model(name: str, /, **options: Unpack[Options]) -> keras.Model:
    """A network by its registered name, built without memory.

    Args:
        name: the registered name.
        options: those of `cifar_zoo.registry.Options`, without weights.
    """
    return without_memory(lambda: create_model(name, **options))


def layer_table(model: keras.Model | str) -> list[LayerFacts]:
    """The layers of a network in order, with what each one costs for one image.

    Args:
        model: a functional or Sequential model of known input size, or a registered name.

    Raises:
        CifarZooError: if the input size is unknown.
    """
    if isinstance(model, str):
        model = abstract_model(model)
    if None in model.input_shape[1:]:
        raise CifarZooError(f"{model.name} takes {model.input_shape[1:]}: costs are counted for a known input_shape")
    rows = []
    for layer in model.layers:
        output = layer.output[0] if isinstance(layer.output, (list, tuple)) else layer.output
        shape = tuple(output.shape[1:])
        parameters = sum(math.prod(weight.shape) for weight in layer.weights)
        rows.append(
            LayerFacts(
                layer.name, type(layer).__name__, shape, parameters, _multiply_adds(layer, shape), math.prod(shape)
            )
        )
    return rows


def _multiply_adds(layer: keras.layers.Layer, shape: tuple[int, ...]) -> int:
    """Each kernel is used once at every place of the output: of any convolution, grouped or not, or dense layer."""
    total = 0
    for part in (layer, *sublayers(layer)):
        if any(inner.weights for inner in sublayers(part)):
            continue  # these count for themselves
        if part is not layer:
            shape = part.compute_output_shape(part.get_build_config()["input_shape"])[1:] if part.weights else ()
        kernels = sum(math.prod(weight.shape) for weight in part.weights if len(weight.shape) > 1)
        total += math.prod(shape[:-1]) * kernels
    return total


def sandbox_flops(model: keras.Model) -> int:
    """Operations for one image by the formula of github.com/kaizouman/tensorsandbox, which its table quotes.

    A multiplication and an addition count one each, as does a bias; a ReLU two; local response normalization 36 for
    each value. Pooling, dropout and softmax count nothing. It is for the networks of that table: convolutions and dense
    layers with bias. There a ReLU followed every convolution, that to the class scores too.
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
