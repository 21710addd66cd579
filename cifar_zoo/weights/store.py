"""Finding weights, verifying them, and loading them into a network."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import keras

from cifar_zoo.errors import CifarZooError
from cifar_zoo.weights.files import layout, load_weights, stored_classes, stored_layout
from cifar_zoo.weights.manifest import PACKAGE, Entry, best, read_manifest

_log = logging.getLogger(__name__)

# Where files lie that need no download: inside the wheel, and in a source checkout.
FOLDERS = (PACKAGE / "bundled", PACKAGE.parent / "weights")


def find_entry(registered: str, weights: str) -> Entry:
    """The manifest's entry for a network and "cifar10" or a tag. Raises CifarZooError that says what there is."""
    tags = read_manifest().get(registered, {})
    if not tags:
        raise CifarZooError(
            f"{registered} has no published weights; train some with `cifar-zoo fit {registered}`, or pass "
            f"weights=None or a .weights.h5 file. Networks with weights: {', '.join(read_manifest()) or 'none'}"
        )
    if weights == "cifar10":
        return best(tags)[1]
    if weights not in tags:
        raise CifarZooError(
            f"{registered} has no weights {weights!r}; there are 'cifar10' and {', '.join(map(repr, tags))}"
        )
    return tags[weights]


def locate(entry: Entry) -> Path:
    """The file of an entry, with its size and hash checked."""
    for folder in FOLDERS:
        path = folder / entry.file
        if path.is_file():
            break
    else:
        raise CifarZooError(f"{entry.file} is in none of {', '.join(map(str, FOLDERS))}; reinstall cifar_zoo")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != entry.bytes or digest != entry.sha256:
        raise CifarZooError(
            f"{path} is damaged: {len(content)} bytes with SHA-256 {digest}, expected {entry.bytes} with "
            f"{entry.sha256}; reinstall cifar_zoo"
        )
    return path


def load_into(model: keras.Model, registered: str, weights: str | Path, build: Callable[..., keras.Model]) -> None:
    """Load weights into a network of any options.

    Args:
        model: the network.
        registered: its registered name.
        weights: "cifar10", a tag, or a path.
        build: constructor of the same architecture.

    Raises:
        CifarZooError: if there are no such weights, the file is not right, or they do not fit. The network then keeps
            the weights it has.
    """
    if str(weights).endswith(".h5") or isinstance(weights, Path):
        path = Path(weights)
        classes = stored_classes(path)
    else:
        entry = find_entry(registered, str(weights))
        path, classes = locate(entry), entry.classes
    if layout(model) == stored_layout(path):
        model.load_weights(path)
        return
    # A network with other options takes over the trunk of one that the weights fit.
    source = build(classes=classes) if classes else build(include_top=False)
    load_weights(source, path)
    new_classifier = model.output_shape[-1] != classes
    taken = [
        layer
        for layer in model.layers
        if layer.weights and not (new_classifier and layer.name.startswith("classifier"))
    ]
    for layer in taken:
        found, needed = ([tuple(w.shape) for w in owner.weights] for owner in (source.get_layer(layer.name), layer))
        if found != needed:
            raise CifarZooError(
                f"{registered}: layer {layer.name} needs {needed}, and the weights {str(weights)!r} have {found}: they "
                f"are for {source.input_shape[1:]} pictures; use that input_shape, or include_top=False"
            )
    for layer in taken:
        layer.set_weights(source.get_layer(layer.name).get_weights())
    if new_classifier and any(layer.name == "classifier" for layer in model.layers):
        _log.warning("%s: the trunk has the weights %r; the classifier is new", registered, str(weights))
