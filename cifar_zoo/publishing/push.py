"""Upload of one network to a repository of its own, from which `create_model("hf://ORG/NAME")` loads it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.evaluation.outputs import channels_and_classes
from cifar_zoo.publishing.upload import Content, upload
from cifar_zoo.registry import create_model
from cifar_zoo.weights.files import layout, save_weights
from cifar_zoo.weights.remote import CONFIG, PREFIX, WEIGHTS, parse_address


def push_to_hub(
    model: keras.Model,
    repo_id: str,
    *,
    network: str | None = None,
    class_names: Sequence[str] | None = None,
    license: str | None = None,
    token: str | None = None,
    private: bool = False,
) -> str:
    """Upload a network to a repository of the Hugging Face hub.

    Args:
        model: `keras.Model` that a constructor of a registered network has built: one of the zoo, or your own that is
            registered by `register_model`. Its weights are stored as float16.
        repo_id: String. "ORG/NAME" of the repository, which is created if it does not exist.
        network: String. The registered name. None: the name of the model.
        class_names: The names of the classes in the order of the outputs, or None.
        license: String. License of the weights, such as "mit", for the model card; None states none.
        token: String. Token with write access. Defaults to HF_TOKEN, or that of `hf auth login`.
        private: Boolean. Whether the repository must be private.

    Returns:
        The address `hf://ORG/NAME@COMMIT`, which `create_model` and the option `weights` of constructors take.

    Raises:
        CifarZooError: If the model is not that of a registered network, or the hub cannot be reached or refuses the
            request.
    """
    if not isinstance(repo_id, str) or parse_address(f"{PREFIX}{repo_id}")[:2] != (repo_id, None):
        raise CifarZooError(f"repo_id must be ORG/NAME, not {shown(repo_id)}")
    _, classes = channels_and_classes(model)
    if class_names is not None and (isinstance(class_names, str) or len(class_names) != classes):
        raise CifarZooError(f"class_names must be a list of {classes} strings, not {shown(class_names)}")
    name, shape = network or model.name, tuple(model.input_shape[1:])
    if None in shape:
        raise CifarZooError(f"{name} takes images of any size, {shape}; push one with a fixed input_shape")
    if layout(create_model(name, classes=classes, input_shape=shape)) != layout(model):
        raise CifarZooError(
            f"the layers of {model.name} are not those of the registered network {name!r} for {classes} classes and "
            f"images {shape}; give the argument network, or register yours by register_model"
        )
    config: dict[str, Any] = {"network": name, "classes": classes, "input_shape": shape}
    config["class_names"] = None if class_names is None else [str(each) for each in class_names]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / WEIGHTS
        save_weights(model, weights)
        files = {
            WEIGHTS: Content.of(weights.read_bytes()),
            CONFIG: Content.of((json.dumps(config, indent=2) + "\n").encode()),
            "README.md": Content.of(_card(repo_id, config, model.count_params(), license).encode()),
        }
    commit, _ = upload(repo_id, files, token=token, private=private)
    return f"{PREFIX}{repo_id}@{commit}"


def _card(repo_id: str, config: dict[str, Any], params: int, license: str | None) -> str:
    """Return the model card."""
    from huggingface_hub import CardData

    data: dict[str, Any] = {"library_name": "keras", "pipeline_tag": "image-classification", "tags": ["cifar_zoo"]}
    if license is not None:
        data["license"] = license
    names = f"\nClasses: {', '.join(config['class_names'])}.\n" if config["class_names"] else ""
    height, width, channels = config["input_shape"]
    return f"""---
{CardData(**data).to_yaml()}
---

# {repo_id}

The network {config["network"]} of [cifar_zoo](https://pypi.org/project/cifar-zoo/), {params:,} parameters, for
{config["classes"]} classes and images of {height} x {width} pixels and {channels} channels, 0..255.
{names}
```python
import cifar_zoo

model = cifar_zoo.create_model("hf://{repo_id}")
```
"""
