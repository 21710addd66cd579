"""The intermediate representation of OpenVINO: an .xml file and a .bin file with the weights beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.exporting import saved_model
from cifar_zoo.exporting.format import Format, Metadata, Outputs


def write(model: Any, path: Path, metadata: Metadata) -> None:
    """Write a model that takes "pixels" and gives named outputs."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        saved_model.write(model, Path(folder), metadata)
        # Not `convert_model`, which reports its use to Intel.
        converted = openvino.Core().read_model(folder)
        for name, value in metadata.items():
            converted.set_rt_info(value, ["cifar_zoo", name])
        openvino.save_model(converted, path, compress_to_fp16=False)


def load(path: Path) -> Callable[[np.ndarray], Outputs]:
    """Return a function from pixels to a dict of named outputs."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pixels: np.ndarray) -> Outputs:
        outputs = compiled({"pixels": pixels})
        return {output.any_name: np.array(outputs[output]) for output in compiled.outputs}

    return run


OPENVINO = Format("OpenVINO", ".xml", {"tensorflow": {}}, {"openvino": "openvino"}, write, load)
