"""`export`: write a network in the format of another runtime, and run it there before it is handed over."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.data.cifar10 import CLASSES, Dataset
from cifar_zoo.data.images import golden_images
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.evaluation.outputs import channels_and_classes, class_names_of, gives_logits, logits_model
from cifar_zoo.exporting.format import Format, Metadata
from cifar_zoo.exporting.litert import LITERT
from cifar_zoo.exporting.onnx import ONNX
from cifar_zoo.exporting.openvino import OPENVINO
from cifar_zoo.exporting.saved_model import SAVED_MODEL
from cifar_zoo.files import make_folder, named_path, write_atomically
from cifar_zoo.layers.sublayers import sublayers
from cifar_zoo.lazy import keras
from cifar_zoo.registry import create_model, model_info
from cifar_zoo.version import __version__
from cifar_zoo.weights.remote import is_address
from cifar_zoo.weights.store import find_entry

FORMATS = {"onnx": ONNX, "saved_model": SAVED_MODEL, "litert": LITERT, "openvino": OPENVINO}

# Of the largest output: more than runtimes differ by in float32. Networks with random weights differ by less than 1e-5,
# but sknet50, in which rounding errors grow most, by 7e-5 in ONNX Runtime and 4e-5 in LiteRT.
TOLERANCE = 5e-4


def export(
    model: keras.Model | str,
    path: str | Path,
    format: str = "onnx",
    *,
    weights: str | Path | None = "cifar10",
    int8: bool = False,
    features: bool = False,
    logits: bool = False,
    input_dtype: str = "uint8",
    class_names: Sequence[str] | None = None,
    data: Dataset | str | Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write a network in the format of another runtime.

    The written file takes an input "pixels" (batch, height, width, channels) with values 0..255 and any batch size, and
    gives the output "probabilities" (batch, classes). It is opened in its own runtime and compared with the network
    before it is moved to `path`.

    Args:
        model: A registered name, or a functional or Sequential model from pixels 0..255 to class scores.
        path: Path of the file, or for "saved_model" of the folder. What is there is replaced. OpenVINO writes the
            weights to a file of the same name that ends in .bin.
        format: "onnx", "saved_model", "litert" or "openvino".
        weights: For a name: "cifar10", a tag, a path, or None for random weights.
        int8: Boolean. Whether the network computes in 8-bit integers, for "onnx" only. The scales are found on 1,000
            training images, and the accuracy on the test images before and after is measured.
        features: Boolean. For a name: whether the outputs are the feature maps "stage1", "stage2" and so on.
        logits: Boolean. Whether the output is "logits" instead of "probabilities".
        input_dtype: "uint8" or "float32".
        class_names: The names of the classes, which are stored in the file. By default those that the network keeps, as
            one of `finetune` does, or else those of CIFAR-10 if there are ten classes.
        data: For int8: a dataset as `load_cifar10` returns it, or a source for `load_cifar10`.
        force: Boolean. Whether an int8 network is written although it is more than 0.5 points less accurate.

    Returns:
        A dict with `path`, `format`, `bytes` and `largest_difference`, relative to the largest output. With `int8` also
        `accuracy` and `int8_accuracy` in 0..1 on the test images; `largest_difference` is None then.

    Raises:
        CifarZooError: If a value cannot be used, a package is missing, the format cannot express the network, or the
            written file gives other outputs. `path` is as it was before.
        OSError: If the file cannot be written.
    """
    if format not in FORMATS:
        raise CifarZooError(f"format must be {', '.join(map(repr, FORMATS))}, not {shown(format)}")
    if input_dtype not in ("uint8", "float32"):
        raise CifarZooError(f"input_dtype must be 'uint8' or 'float32', not {shown(input_dtype)}")
    if features and logits:
        raise CifarZooError("features and logits exclude each other")
    if int8 and (format != "onnx" or features):
        raise CifarZooError(f"int8 is for class scores in ONNX, not for {'features' if features else repr(format)}")
    target = named_path(path)
    chosen = FORMATS[format]
    if not target.name.endswith(chosen.suffix):
        raise CifarZooError(
            f"the name of a file for {chosen.title} must end in {chosen.suffix}, not {shown(str(path))}"
        )
    _check_target(target, chosen)
    writer = _find_writer(chosen)

    metadata = {"producer": f"cifar_zoo {__version__}"}
    if isinstance(model, str):
        metadata |= _origin(model, weights)
        model = create_model(model, weights=weights, features=features)
    elif features:
        raise CifarZooError("features=True needs the name of a network; a model gives the outputs that it has")
    metadata.setdefault("network", model.name)
    if not features:
        metadata["class_names"] = json.dumps(_class_names(model, class_names))
    exported = _with_named_ends(model, input_dtype, logits, features)
    metadata["outputs"] = json.dumps(sorted(exported.output))

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / target.name
        _write(format, exported, written, metadata, writer)
        figures: dict[str, Any] = {"largest_difference": _compare(exported, chosen, written)}
        if int8:
            from cifar_zoo.exporting import int8 as quantization

            figures = {"largest_difference": None, **quantization.quantize(written, data, force=force)}
        size = _move(written, target)
    return {"path": str(target), "format": format, "bytes": size, **figures}


def _check_target(target: Path, chosen: Format) -> None:
    """Raise CifarZooError if something that is no export of this format is where the export is to be written."""
    if not target.exists():
        return
    if chosen.suffix and not target.is_file():
        raise CifarZooError(f"{str(target)!r} is not a regular file and is not replaced")
    if not chosen.suffix and not (target / "saved_model.pb").is_file() and (target.is_file() or any(target.iterdir())):
        raise CifarZooError(f"{str(target)!r} is not a SavedModel and is not replaced; give another path")


def _find_writer(chosen: Format) -> str:
    """Return the backend that writes a format: this one if it can, else one that is installed.

    Raises:
        CifarZooError: If there is none, or a package is missing.
    """
    here = keras.backend.backend()
    found = here if here in chosen.backends else next(filter(importlib.util.find_spec, chosen.backends), None)
    if found is None:
        first, names = next(iter(chosen.backends)), " or ".join(chosen.backends)
        raise CifarZooError(f"{chosen.title} is written by {names}, which is not installed: pip install {first}")
    for package, extra in (chosen.packages | chosen.backends[found]).items():
        if importlib.util.find_spec(package) is None:
            raise CifarZooError(f"{chosen.title} needs the package {package}: pip install 'cifar-zoo[{extra}]'")
    return found


def _origin(name: str, weights: str | Path | None) -> Metadata:
    """Return where the weights of a registered network, or of one in a repository of the hub, come from."""
    if is_address(name):
        return {"weights": name}
    origin = {"network": model_info(name).name, "weights": str(weights or "random")}
    if isinstance(weights, str) and not weights.endswith(".h5"):
        entry = find_entry(origin["network"], weights)
        origin |= {"license": entry.license, "sha256": entry.sha256, "test_accuracy": f"{entry.test_accuracy:.4f}"}
    return origin


def _class_names(model: keras.Model, given: Sequence[str] | None) -> list[str]:
    """Return the names of the classes, or an empty list if they are unknown."""
    _, classes = channels_and_classes(model)
    default = class_names_of(model) or (CLASSES if classes == len(CLASSES) else ())
    names = list(default if given is None else given)
    if given is not None and len(names) != classes:
        raise CifarZooError(f"class_names must name the {classes} classes of {model.name}, not {len(names)}")
    return names


def _with_named_ends(model: keras.Model, input_dtype: str, logits: bool, features: bool) -> keras.Model:
    """Return a model that takes "pixels" of some dtype and gives a dict of outputs with fixed names."""
    if reduced := [layer for layer in sublayers(model) if layer.compute_dtype != "float32"]:
        raise CifarZooError(
            f"{model.name} computes in {reduced[0].compute_dtype}; build it with the dtype policy float32 for export"
        )
    pixels = keras.Input(model.input_shape[1:], dtype=input_dtype, name="pixels")
    x = keras.ops.cast(pixels, "float32")
    if features:
        return keras.Model(pixels, dict(model(x)), name="exported")
    if logits:
        model, are_logits = logits_model(model)
        if not are_logits:
            raise CifarZooError(f"{model.name} gives probabilities without a softmax layer; use logits=False")
        return keras.Model(pixels, {"logits": model(x)}, name="exported")
    scores = model(x)
    if gives_logits(model):
        scores = keras.ops.softmax(scores)
    return keras.Model(pixels, {"probabilities": scores}, name="exported")


def _write(format: str, model: keras.Model, path: Path, metadata: Metadata, backend: str) -> None:
    """Write a model with a backend: this one, or another one in a process of its own."""
    chosen = FORMATS[format]
    if backend == keras.backend.backend():
        try:
            chosen.write(model, path, metadata)
        except Exception as error:  # of whatever the converters raise
            raise CifarZooError(f"{metadata['network']} cannot be written as {chosen.title}: {error!s:.500}") from error
        return
    saved = path.with_name("model.keras")
    model.save(saved)
    done = subprocess.run(
        [sys.executable, "-m", __name__, format, str(saved), str(path), json.dumps(metadata)],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    saved.unlink()
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"code {done.returncode}"]
        raise CifarZooError(f"writing {chosen.title} with the backend {backend} failed: {reason[0]:.500}")


def _compare(model: keras.Model, chosen: Format, path: Path) -> float:
    """Return the largest difference between the outputs of a model and of a written file, relative to the largest one.

    Raises:
        CifarZooError: If the file cannot be run, or it is more than `TOLERANCE`.
    """
    rows, columns, channels = (side or 32 for side in model.input_shape[1:])
    images = golden_images(rows, columns) if channels == 3 else _noise(4, rows, columns, channels)
    images = np.concatenate([images, images[:3, :, ::-1]]).astype(model.input.dtype)
    difference = 0.0
    try:
        run = chosen.load(path)
        for batch in (images[:1], images):
            expected = {name: keras.ops.convert_to_numpy(value) for name, value in model(batch, training=False).items()}
            found = run(batch)
            if found.keys() != expected.keys():
                raise CifarZooError(f"its outputs are {', '.join(found)} in place of {', '.join(expected)}")
            for name, values in expected.items():
                if found[name].shape != values.shape:
                    raise CifarZooError(f"{name} is {found[name].shape} in place of {values.shape}")
                difference = max(difference, float(np.abs(found[name] - values).max() / np.abs(values).max()))
        if not difference <= TOLERANCE:
            raise CifarZooError(f"its outputs differ by {difference:.1g} of the largest one")
    except Exception as error:  # of whatever the runtimes raise
        raise CifarZooError(f"the {chosen.title} file does not do what the network does: {error!s:.500}") from error
    return difference


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape)


def _move(written: Path, target: Path) -> int:
    """Move what was written to its place and return its size in bytes."""
    make_folder(target.parent)
    if written.is_dir():
        size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as near:
            shutil.copytree(written, new := Path(near) / "new")  # `written` may be on another file system
            if target.exists():
                target.rename(Path(near) / "old")
            new.rename(target)
        return size
    size = 0
    for file in sorted(written.parent.iterdir(), key=lambda file: file == written):  # the weights of OpenVINO first
        size += file.stat().st_size
        write_atomically(target.with_name(file.name), lambda temporary: shutil.copyfile(file, temporary))  # noqa: B023
    return size


if __name__ == "__main__":
    format_, model_, path_, metadata_ = sys.argv[1:]
    import cifar_zoo.layers  # noqa: F401  registers the layers with Keras

    FORMATS[format_].write(keras.saving.load_model(model_), Path(path_), json.loads(metadata_))
