"""Lookup and loading of published weights.

`weights="cifar10"` looks up the entry of the manifest, finds or downloads its file, verifies the hash and loads it.
"""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_zoo.errors import CifarZooError
from cifar_zoo.registry import ModelInfo, model_info
from cifar_zoo.weights.hub import download, read_cached
from cifar_zoo.weights.manifest import PACKAGE, Entry, best, read_manifest
from cifar_zoo.weights.remote import download_weights, is_address, parse_address, read_config

if TYPE_CHECKING:
    import keras

    from cifar_zoo.weights.files import Layout, Stored

_log = logging.getLogger(__name__)

# Folders of weights that need no download: in the wheel and in a source checkout.
FOLDERS = (PACKAGE / "bundled", PACKAGE.parent / "weights")

# A small file could claim so many classes that building the network would exhaust the memory.
MOST_CLASSES = 100_000


def find_entry(name: str, weights: str) -> Entry:
    """Return the manifest's entry for the weights of a network.

    Args:
        name: String. Registered name of the network.
        weights: String. A tag, or "cifar10" for the best weights.

    Raises:
        CifarZooError: If there are no such weights. The message lists the available ones.
    """
    tags = read_manifest().get(name, {})
    if not tags:
        raise CifarZooError(_unpublished(name))
    if weights == "cifar10":
        return best(tags)[1]
    if weights not in tags:
        raise CifarZooError(f"{name} has no weights {weights!r}; there are 'cifar10' and {', '.join(map(repr, tags))}")
    return tags[weights]


def loadable_tags(name: str) -> list[str]:
    """Return the tags of a network whose weights can be loaded from the wheel, a checkout, the cache or the hub."""
    return [tag for tag, entry in read_manifest().get(name, {}).items() if available(entry)]


def available(entry: Entry) -> bool:
    """Whether the file of an entry is on this machine or on the hub."""
    return entry.repository is not None or _at_hand(entry) is not None or read_cached(entry) is not None


def locate(entry: Entry) -> Path:
    """Return the path of an entry's verified file, as for `read`."""
    return read(entry)[0]


def read(entry: Entry) -> tuple[Path, bytes]:
    """Return the path of an entry's file and its content, whose hash has been verified.

    The file is in the wheel, a checkout or the cache, or is downloaded. It is read only once, so the returned bytes are
    exactly those that were verified.

    Raises:
        CifarZooError: If the file cannot be downloaded, or is damaged in the wheel or the checkout.
    """
    if path := _at_hand(entry):
        content, problem = entry.read(path)
        if problem:
            raise CifarZooError(f"{path} is damaged: it {problem}; reinstall cifar_zoo")
        return path, content
    if cached := read_cached(entry):
        return cached
    if entry.repository is None:
        raise CifarZooError(_elsewhere(entry))
    return download(entry)


def _at_hand(entry: Entry) -> Path | None:
    return next((path for folder in FOLDERS if (path := folder / entry.file).is_file()), None)


def _elsewhere(entry: Entry) -> str:
    """Return the message for weights that are neither on this machine nor on the hub."""
    name = entry.file.split("/")[0]
    return (
        f"the weights of {name} are not part of this installation and not on the hub yet; `cifar-zoo download {name} "
        f"--from FOLDER` takes them from weights/ of a checkout, and `{entry.command}` trains some. {_others(name)}"
    )


def _unpublished(name: str) -> str:
    """Return the message for a network without published weights."""
    return f"{name} has no published weights yet; `cifar-zoo fit {name}` trains some. {_others(name)}"


def _others(name: str) -> str:
    """Return what else to do: the nearest network with weights, or no weights or a file."""
    others = [other for other, tags in read_manifest().items() if other != name and available(best(tags)[1])]
    nearest = difflib.get_close_matches(name, others, n=1, cutoff=0)
    hint = f"The nearest network that has is {nearest[0]}. " if nearest else ""
    return f"{hint}Else pass weights=None, or a .weights.h5 file"


def check_pretrained(name: str, weights: str | os.PathLike[str]) -> None:
    """Raise CifarZooError if the manifest has no such weights for a network. Files are checked when they are read."""
    if is_address(weights):
        parse_address(str(weights))
    elif not _is_file(weights):
        find_entry(name, str(weights))


def find_network(address: str) -> tuple[str, dict[str, Any]]:
    """Return the registered name of the network in a repository of the hub, and the options that it was built with.

    Raises:
        CifarZooError: If there is no such repository or network, or the options claim more weights than are there.
    """
    from cifar_zoo.backend.abstract import without_memory  # imports Keras

    config = read_config(address)
    spec = model_info(config["network"])
    options = {key: config[key] for key in ("classes", "input_shape")}
    needed = without_memory(lambda: spec.build(**options)).count_params()
    if needed > config["weights_bytes"]:  # each takes a byte or more
        raise CifarZooError(
            f"{address}: {spec.name} with {options} has {needed:,} weights, and the weights file there has only "
            f"{config['weights_bytes']:,} bytes"
        )
    return spec.name, options


def _is_file(weights: str | os.PathLike[str]) -> bool:
    """Whether weights are the path of a file, not a tag."""
    return not isinstance(weights, str) or weights.endswith(".h5")


def load_pretrained(model: keras.Model, spec: ModelInfo, weights: str | os.PathLike[str]) -> None:
    """Load weights into a network.

    Args:
        model: `keras.Model`. It may differ from the network of the weights in the number of classes, in the input shape
            or by `include_top=False`. All weights except those of such a classifier are then loaded.
        spec: `ModelInfo` of the network.
        weights: A tag, "cifar10" for the best published weights, the path of a .weights.h5 file, or the address
            `hf://ORG/NAME[/TAG][@REVISION]` of a repository of the hub.

    Raises:
        CifarZooError: If there are no such weights, or if the file is invalid or does not fit the network. The network
            keeps its weights in this case.
    """
    from cifar_zoo.weights import files  # imports Keras

    given = _is_file(weights) or is_address(weights)
    if given:
        path = download_weights(str(weights), spec.name) if is_address(weights) else Path(weights)
        stored = files.read_file(path, files.most_bytes(model))
    else:
        channels = model.input_shape[-1]
        if channels != spec.input_shape[-1]:
            raise CifarZooError(
                f"{spec.name}: the published weights are for {spec.input_shape[-1]} channels; use weights=None for "
                f"{channels}"
            )
        path, content = read(find_entry(spec.name, str(weights)))
        stored = files.read_verified(content)
    if stored.layout == files.layout(model):
        files.assign(model, stored, path)
        return
    source = _source(model, spec, stored, path)
    if given and not stored.values:  # more values than the network itself has
        stored = files.read_file(path, files.most_bytes(source))
    files.assign(source, stored, path)
    new_classifier = _classes(files.layout(model)) != _classes(stored.layout)
    _take_over(model, source, spec.name, str(weights), new_classifier)


def _source(model: keras.Model, spec: ModelInfo, stored: Stored, path: Path) -> keras.Model:
    """Build a network of the same architecture that matches the weights in a file.

    The weights are for images of the default size, or else, as one's own may be, of the size of the model.
    """
    from cifar_zoo.weights import files

    classes = _classes(stored.layout)
    if classes and classes > MOST_CLASSES:
        raise CifarZooError(f"{path}: is for {classes:,} classes; at most {MOST_CLASSES:,} are allowed")
    options = {"classes": classes} if classes else {"include_top": False}
    own, default = model.input_shape[1:], (*spec.input_shape[:2], model.input_shape[-1])
    source = spec.build(input_shape=default, **options)
    if own != default and None not in own and files.layout(source) != stored.layout:
        source = spec.build(input_shape=own, **options)
    return source


def _classes(layout: Layout) -> int | None:
    """Return the number of classes of the classifier in a layout, or None if there is none."""
    kernel = layout.get("classifier/0")
    return kernel[-1] if kernel else None


def _take_over(model: keras.Model, source: keras.Model, name: str, weights: str, new_classifier: bool) -> None:
    """Copy the weights of all layers, except those of a classifier for another number of classes."""
    taken = [
        layer
        for layer in model.layers
        if layer.weights and not (new_classifier and layer.name.startswith("classifier"))
    ]
    for layer in taken:
        found, needed = ([tuple(w.shape) for w in owner.weights] for owner in (source.get_layer(layer.name), layer))
        if found != needed:
            raise CifarZooError(
                f"{name}: layer {layer.name} needs {needed}, and the weights {weights!r} have {found}: they are for "
                f"{source.input_shape[1:]} images; use that input_shape, or include_top=False"
            )
    for layer in taken:
        for weight, value in zip(layer.weights, source.get_layer(layer.name).weights, strict=True):
            weight.assign(value)
    if new_classifier and any(layer.name == "classifier" for layer in model.layers):
        _log.warning("%s: the trunk has the weights %r; the classifier is new", name, weights)
