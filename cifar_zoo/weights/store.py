"""Finding weights, verifying them, and loading them into a network."""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_zoo.errors import CifarZooError
from cifar_zoo.weights.hub import download
from cifar_zoo.weights.manifest import PACKAGE, Entry, best, read_manifest

if TYPE_CHECKING:
    import keras

    from cifar_zoo.registry import ModelInfo

_log = logging.getLogger(__name__)

# Where files lie that need no download: inside the wheel, and in a source checkout.
FOLDERS = (PACKAGE / "bundled", PACKAGE.parent / "weights")

# A file of a few bytes can claim to have more, for which there would be no memory.
MOST_CLASSES = 100_000


def find_entry(registered: str, weights: str) -> Entry:
    """The manifest's entry for a network and "cifar10" or a tag. Raises CifarZooError that says what there is."""
    tags = read_manifest().get(registered, {})
    if not tags:
        raise CifarZooError(_unpublished(registered, f"cifar-zoo fit {registered}"))
    if weights == "cifar10":
        return best(tags)[1]
    if weights not in tags:
        raise CifarZooError(
            f"{registered} has no weights {weights!r}; there are 'cifar10' and {', '.join(map(repr, tags))}"
        )
    return tags[weights]


def locate(entry: Entry) -> Path:
    """The file of an entry, with its size and hash checked: in the wheel, in a checkout, in the cache, or on the hub.

    Raises:
        CifarZooError: if it cannot be had, or is damaged where it lies.
    """
    if path := _at_hand(entry):
        if problem := entry.difference(path):
            raise CifarZooError(f"{path} is damaged: it {problem}; reinstall cifar_zoo")
        return path
    if entry.repository is None:
        raise CifarZooError(_unpublished(entry.file.split("/")[0], entry.command))
    return download(entry)


def available(entry: Entry) -> bool:
    """Whether an entry is published, or its file at hand."""
    return entry.repository is not None or _at_hand(entry) is not None


def _at_hand(entry: Entry) -> Path | None:
    return next((path for folder in FOLDERS if (path := folder / entry.file).is_file()), None)


def _unpublished(registered: str, command: str) -> str:
    """What to say of a network without published weights."""
    others = [name for name, tags in read_manifest().items() if name != registered and available(best(tags)[1])]
    nearest = difflib.get_close_matches(registered, others, n=1, cutoff=0)
    return (
        f"{registered} has no published weights yet; `{command}` trains some. "
        + (f"The nearest network that has is {nearest[0]}. " if nearest else "")
        + "Else pass weights=None, or a .weights.h5 file"
    )


def loadable_tags(name: str) -> list[str]:
    """The tags of a network's pretrained weights that can be loaded here, the best first; empty if there are none."""
    tags = read_manifest().get(name, {})
    return sorted((tag for tag, entry in tags.items() if available(entry)), key=lambda tag: (not tags[tag].best, tag))


def load_pretrained(model: keras.Model, spec: ModelInfo, weights: str | os.PathLike[str]) -> None:
    """Load weights into a network of any options.

    Args:
        model: The network.
        spec: The registry's entry of the network; `spec.build(**options)` makes another one.
        weights: "cifar10", a tag, or the path of a .weights.h5 file.

    Raises:
        CifarZooError: If there are no such weights, the file is not right, or they do not fit. The network then keeps
            the weights it has.
    """
    from cifar_zoo.weights.files import layout, load_weights, stored_layout  # Keras, at first use

    registered, channels = spec.name, model.input_shape[-1]
    is_path = str(weights).endswith(".h5") or isinstance(weights, os.PathLike)
    if not is_path and channels != 3:
        raise CifarZooError(f"{registered}: the published weights are for 3 channels; use weights=None for {channels}")
    path = Path(weights) if is_path else locate(find_entry(registered, str(weights)))
    stored = stored_layout(path)
    if layout(model) == stored:
        load_weights(model, path)
        return
    classes = stored["classifier/0"][-1] if "classifier/0" in stored else None
    if classes and classes > MOST_CLASSES:
        raise CifarZooError(f"{path}: is for {classes:,} classes; there may be {MOST_CLASSES:,}")
    # A network with other options takes over the trunk of one that the weights fit.
    shape = (*spec.input_shape[:2], channels)
    source = (
        spec.build(input_shape=shape, classes=classes) if classes else spec.build(input_shape=shape, include_top=False)
    )
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
                f"are for {source.input_shape[1:]} images; use that input_shape, or include_top=False"
            )
    for layer in taken:
        layer.set_weights(source.get_layer(layer.name).get_weights())
    if new_classifier and any(layer.name == "classifier" for layer in model.layers):
        _log.warning("%s: the trunk has the weights %r; the classifier is new", registered, str(weights))
