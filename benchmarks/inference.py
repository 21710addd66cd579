"""How fast the published networks answer: Keras on each backend, plain PyTorch, ONNX Runtime and LiteRT.

    python benchmarks/inference.py --json inference.json
    python benchmarks/inference.py resnet20 squeeze1 --rounds 3 --json inference.json

For each network the latency of one image (median and 95th percentile) and the throughput in images/s of batches of 128,
from uint8 pixels to class scores. The ways to compute them:

- `keras tensorflow`, `keras jax`, `keras torch`: the model called in a compiled function (`tf.function`, `jax.jit`; on
  PyTorch without gradients), and `predict`: `model.predict` on TensorFlow.
- `torch float32`, `torch bfloat16`, `torch compile`: the network in plain PyTorch, channels-last, in inference mode: as
  it is, under autocast where the hardware supports bfloat16, and compiled in float32. The fastest of them counts as
  PyTorch's figure.
- `onnx`, `onnx int8`, `litert`: the files that `cifar_zoo.export` writes, in their runtimes.

All use all cores, in processes of their own that wait while another one computes. They take turns, so that other load
on the machine affects all of them. Networks that the file holds are skipped. The int8 files are those of
`cifar_zoo.export(..., int8=True)`, whose accuracies on the test images are recorded, too; CIFAR-10 is needed for them.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

BATCHES = 1, 128
TURN = 0.3  # seconds that each way computes before the next one does
SIDES = {
    "keras tensorflow": {"KERAS_BACKEND": "tensorflow"},
    "keras jax": {"KERAS_BACKEND": "jax"},
    "keras torch": {"KERAS_BACKEND": "torch"},
    "plain torch": {"KERAS_BACKEND": "torch"},
    "runtimes": {"KERAS_BACKEND": "tensorflow"},
}


def images_for(shape, batch):
    """Random uint8 images of the size that a network takes."""
    return np.random.default_rng(0).integers(0, 256, (batch, *shape), dtype="uint8")


def in_keras(name, _):
    """The ways of Keras on the backend of this process: functions from uint8 images to class scores."""
    import keras

    import cifar_zoo

    model = cifar_zoo.create_model(name, weights="cifar10")
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
        return {
            "keras tensorflow": lambda x: compiled(tf.constant(x)).numpy(),
            "predict": lambda x: model.predict(x, batch_size=len(x), verbose=0),
        }
    if backend == "jax":
        import jax

        state = (
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
        )
        compiled = jax.jit(lambda x: model.stateless_call(*state, x, training=False)[0])
        return {"keras jax": lambda x: np.asarray(compiled(x))}
    import torch

    def run(x):
        with torch.inference_mode():
            return model(torch.from_numpy(x), training=False).numpy()

    return {"keras torch": run}


def in_torch(name, _):
    """The ways of plain PyTorch."""
    import torch
    from in_torch import pad_on_both_sides, translate

    import cifar_zoo
    from cifar_zoo.backend.precision import hardware_precision

    model = cifar_zoo.create_model(name, weights="cifar10", classifier_activation=None)
    weights = {layer.name: [np.asarray(w) for w in layer.get_weights()] for layer in model.layers}
    network = translate(model, weights).eval().to(memory_format=torch.channels_last)
    pad_on_both_sides(network)  # faster than the padding of TensorFlow

    def way(function, autocast):
        def run(x):
            reduced = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
            with torch.inference_mode(), reduced:
                return function(torch.from_numpy(x)).float().softmax(dim=-1).numpy()

        return run

    ways = {"torch float32": way(network, False), "torch compile": way(torch.compile(network), False)}
    if hardware_precision() == "mixed_bfloat16":
        ways["torch bfloat16"] = way(network, True)
    return ways


def in_runtimes(name, folder):
    """The ways of the runtimes, with files that are written first."""
    import cifar_zoo
    from cifar_zoo.exporting.litert import LITERT
    from cifar_zoo.exporting.onnx import ONNX

    paths = {"onnx": folder / "net.onnx", "onnx int8": folder / "int8.onnx", "litert": folder / "net.tflite"}
    cifar_zoo.export(name, paths["onnx"])
    cifar_zoo.export(name, paths["litert"], "litert")
    int8 = cifar_zoo.export(name, paths["onnx int8"], int8=True, force=True)
    figures = {key: int8[key] for key in ("accuracy", "int8_accuracy")}
    figures["bytes"] = {way: path.stat().st_size for way, path in paths.items()}
    (folder / "figures.json").write_text(json.dumps(figures))
    loaded = {way: (LITERT if way == "litert" else ONNX).load(path) for way, path in paths.items()}
    return {way: lambda x, run=run: run(x)["probabilities"] for way, run in loaded.items()}


def serve(pipe, side, environment):
    """Run one side in this process: receive a network, answer with its ways, and time them until told otherwise."""
    os.environ |= environment
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["OMP_WAIT_POLICY"] = "passive"  # waiting threads would take the cores from the others
    make = {"plain torch": in_torch, "runtimes": in_runtimes}.get(side, in_keras)
    while True:
        name, folder, shape = pipe.recv()
        ways = make(name, Path(folder))
        pipe.send(list(ways))
        images = {batch: images_for(shape, batch) for batch in BATCHES}
        while (order := pipe.recv()) is not None:
            way, batch = order
            pipe.send(timed(ways[way], images[batch]))


def timed(run, images):
    """The seconds of each call of one turn."""
    seconds, end = [], time.perf_counter() + TURN
    while not seconds or time.perf_counter() < end:
        start = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - start)
    return seconds


def measure(name, sides, rounds):
    """The figures of one network."""
    import cifar_zoo
    from cifar_zoo.weights.store import find_entry

    shape = cifar_zoo.model_info(name).input_shape
    with tempfile.TemporaryDirectory() as folder:
        ways = {}
        for pipe in sides.values():  # one after the other, as building takes all cores
            pipe.send((name, folder, shape))
            ways |= dict.fromkeys(pipe.recv(), pipe)
        figures = json.loads((Path(folder) / "figures.json").read_text())
        seconds = {(way, batch): [] for way in ways for batch in BATCHES}
        for number in range(rounds + 1):
            for (way, batch), found in seconds.items():
                ways[way].send((way, batch))
                turn = ways[way].recv()
                if number:  # the first turn compiles
                    found += turn
        for pipe in sides.values():
            pipe.send(None)
    return {
        "network": name,
        "sha256": find_entry(name, "cifar10").sha256,
        **figures,
        "latency_ms": {way: [1e3 * float(np.quantile(seconds[way, 1], q)) for q in (0.5, 0.95)] for way in ways},
        "images_per_second": {way: 128 / float(np.median(seconds[way, 128])) for way in ways},
    }


def main():
    """Measure, print, and write the figures to the file after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="registered names; default: all with weights")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, required=True, help="file to write the figures to")
    arguments = parser.parse_args()
    import cifar_zoo
    from cifar_zoo.backend.environment import describe_environment

    report = json.loads(arguments.json.read_text()) if arguments.json.exists() else {"networks": []}
    done = {figures["network"] for figures in report["networks"]}
    processes = multiprocessing.get_context("spawn")
    sides = {}
    for side, environment in SIDES.items():
        sides[side], own = processes.Pipe()
        processes.Process(target=serve, args=(own, side, environment), daemon=True).start()
        own.close()
    for name in arguments.networks or cifar_zoo.list_models(pretrained=True):
        if name in done:
            continue
        figures = measure(name, sides, arguments.rounds)
        report = {"environment": describe_environment(), "networks": [*report["networks"], figures]}
        partial = arguments.json.with_suffix(".tmp")
        partial.write_text(json.dumps(report, indent=1) + "\n")
        partial.replace(arguments.json)  # whole at any time
        print(name, {way: f"{median:.2f} ms" for way, (median, _) in figures["latency_ms"].items()}, flush=True)


if __name__ == "__main__":
    main()
