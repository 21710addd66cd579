"""Hashes of data, architecture and initial weights, by which config.json identifies a run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np

from cifar_zoo.backend.values import to_numpy
from cifar_zoo.data.cifar10 import Split
from cifar_zoo.errors import CifarZooError
from cifar_zoo.training.network import flat_layers


def hash_split(split: Split | None) -> str | None:
    """SHA-256 of images and labels, or None for None."""
    return None if split is None else hashlib.sha256(split[0].tobytes() + split[1].tobytes()).hexdigest()


def hash_config(config: dict[str, Any]) -> str:
    """SHA-256 of a configuration of plain values. The order of its keys does not matter."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def hash_architecture(model: keras.Model) -> str:
    """SHA-256 of the layers of a network, their options and their connections. Layer names do not matter."""
    try:
        config: Any = _without_names(model.get_config(), {})
    except (NotImplementedError, TypeError, ValueError):  # a layer without a configuration
        config = [type(layer).__qualname__ for layer in model.layers]
    shapes = [[list(variable.shape), variable.dtype] for variable in model.weights]
    text = json.dumps([config, shapes], sort_keys=True, default=lambda value: type(value).__qualname__)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_names(value: Any, numbers: dict[str, int]) -> Any:
    """Return a configuration in which the names of layers are replaced by numbers, in order of appearance.

    Keras numbers layer names across the whole process, so they differ if the same network is built twice.
    """
    if isinstance(value, (list, tuple)):
        return [_without_names(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "__keras_tensor__":
        return {"tensor": _reference(value["config"]["keras_history"], numbers)}
    config = value.get("config")
    if isinstance(config, dict) and _is_of_layer(value):
        value = {**value, "config": {**config, "name": _number(config.get("name"), numbers)}}
        value["name"] = value["config"]["name"]
    found = {}
    for key, item in value.items():
        if key in ("input_layers", "output_layers"):
            found[key] = _references(item, numbers)
        elif not key.endswith("_initializer") and key != "shared_object_id":  # initial weights are hashed separately
            found[key] = _without_names(item, numbers)
    if "layers" in found:  # a network, whose name is not part of its architecture
        found.pop("name", None)
    return found


def _is_of_layer(value: dict[str, Any]) -> bool:
    """Whether a serialized object is a layer, whose name is arbitrary, and not a dtype policy, whose name matters."""
    keys = value["config"].keys()  # an input layer has a batch_shape instead of trainable
    return "name" in keys and bool(
        keys & {"trainable", "batch_shape"} or value.keys() & {"inbound_nodes", "build_config"}
    )


def _number(name: Any, numbers: dict[str, int]) -> int:
    return numbers.setdefault(str(name), len(numbers))


def _reference(history: Any, numbers: dict[str, int]) -> list[Any]:
    """A reference (layer, call, tensor) with the number of the layer instead of its name."""
    return [_number(history[0], numbers), *history[1:]]


def _references(item: Any, numbers: dict[str, int]) -> Any:
    if isinstance(item, dict):
        return {key: _references(value, numbers) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        if item and isinstance(item[0], str):
            return _reference(item, numbers)
        return [_references(value, numbers) for value in item]
    return item


def hash_initial_weights(model: keras.Model) -> str | None:
    """SHA-256 of the weights of the layers that have been trained already, or None if there are none.

    Random initial weights differ each time a network is built, and this must not keep a run from being resumed. A layer
    counts as trained if one of its vectors (a bias or a batch-norm statistic) is not constant. In a new layer, all
    vectors are constant.

    Raises:
        CifarZooError: If a weight is not finite.
    """
    digest, trained = hashlib.sha256(), False
    for number, layer in enumerate(flat_layers(model)):
        values = [to_numpy(variable) for variable in layer.weights]
        for variable, value in zip(layer.weights, values, strict=True):
            if not np.isfinite(value.astype("float32")).all():
                raise CifarZooError(f"{model.name}: {variable.path} holds values that are not finite")
        if any(value.ndim == 1 and value.size > 1 and np.ptp(value.astype("float64")) > 0 for value in values):
            trained = True
            digest.update(str(number).encode())
            for value in values:
                digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest() if trained else None
