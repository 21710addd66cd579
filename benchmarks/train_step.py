"""Throughput of the training step of a network: the zoo compared with the same network in plain PyTorch.

    KERAS_BACKEND=jax python benchmarks/train_step.py resnet18 --batch 128 --steps 12 --rounds 5 --json step.json
    python benchmarks/train_step.py --all --json steps.json
    python benchmarks/train_step.py none

The zoo trains by `Trainer.fit` with that part of the network's recipe "zoo" that the PyTorch code has too: SGD and L2,
clipping, a random crop and flip, label smoothing and an exponential moving average of the weights (EMA). Batches are of
uint8 images, augmentation is inside the step, and it computes in bfloat16 where the hardware supports it. The PyTorch
code does the same by hand: crop and flip as one gather, channels-last, PyTorch's fused SGD, and `_foreach_lerp_` for
the EMA, with autocast to bfloat16 where the hardware supports it, or in float32, whichever is faster for this network.

The two run in separate processes that alternate, one idle while the other runs, so that other load on the machine
affects both. The figures are medians over the rounds. First both compute logits in float32 with the same weights, which
must agree. For these PyTorch pads as TensorFlow does: where a stride makes the padding odd, the larger part is on the
right and at the bottom. In the timed steps it pads symmetrically, which is faster in PyTorch.

Memory is the peak of the resident memory of each process beyond what it had before its first step (Linux, CPU only).
The share of the peak is that of the arithmetic of the convolutions and matrix products, three times that of a forward
pass, in the throughput of the fastest square matrix product measured in the same run. With TensorFlow on a CPU, one
more step is profiled: milliseconds in each kind of operation, over all threads.

The second command measures every network that is not yet in the file. The third, and the end of the first, measure the
overhead of `fit` per step, with the callbacks of `fit_cifar10`, on a network so small that its own computation is
negligible.
"""

import argparse
import collections
import functools
import itertools
import json
import math
import multiprocessing
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
from in_torch import pad_on_both_sides, translate

WARM_UP = 2  # rounds that are not measured
SIDES = "ours", "torch"
KNOWN_TO_TORCH = (
    "learning_rate",
    "momentum",
    "l2",
    "global_clipnorm",
    "padding",
    "flip",
    "label_smoothing",
    "ema_decay",
)


def dtypes():
    """The dtypes that the hardware computes in: float32, and bfloat16 where it has instructions for it."""
    from cifar_zoo.backend.precision import hardware_precision

    return ("float32", "bfloat16") if hardware_precision() == "mixed_bfloat16" else ("float32",)


def timed(function):
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def random_order(batch, examples=2048):
    """Endless shuffled batches of random images."""
    from cifar_zoo.training.batches import ShuffledBatches

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (examples, 32, 32, 3), dtype="uint8")
    return ShuffledBatches(images, random.integers(0, 10, examples, dtype="uint8"), batch, seed=0)


def recipe_of(name):
    """The part of a network's recipe that the PyTorch code supports."""
    from cifar_zoo.training.recipe import Recipe
    from cifar_zoo.training.recipes import find_recipe

    recipe = find_recipe("zoo", name)
    return Recipe(**{field: getattr(recipe, field) for field in KNOWN_TO_TORCH})


def resident_memory(kind):
    """Bytes of this process in memory: now ("VmRSS") or at most ("VmHWM") since the last reset. None outside Linux."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{kind}:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else None


class MemoryOfSteps:
    """Resident memory beyond that at the time of construction."""

    def __init__(self):
        self.before = resident_memory("VmRSS")
        if self.before is not None:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM

    def peak(self):
        return None if self.before is None else resident_memory("VmHWM") - self.before


def fastest_product(multiply, make, dtypes, size=2048, repeats=10):
    """Multiply-adds per second of a square matrix product in the faster of some dtypes."""
    seconds = []
    for dtype in dtypes:
        a = make(np.ones((size, size), "float32"), dtype)
        seconds += [timed(lambda a=a: float(multiply(a, a)[0, 0]))[0] for _ in range(repeats)]
    return size**3 / min(seconds)


def clock(before=lambda: None, after=lambda seconds: None):
    """A Keras callback that calls `before()` ahead of each epoch and `after((wall, cpu))` with its seconds after it."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            before()
            self.start = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch, logs=None):  # Keras has read the loss, so the device has finished
            after((time.perf_counter() - self.start[0], time.process_time() - self.start[1]))

    return Clock()


def make_trainer(model, recipe, precision, order):
    """The Trainer of `fit_cifar10`, ready for `fit`."""
    from cifar_zoo.training.augment import augmentation, mixing
    from cifar_zoo.training.optimize import optimizer
    from cifar_zoo.training.trainer import Trainer

    layers = augmentation(recipe, *model.input_shape[1:3], order.steps, seed=0)
    trainer = Trainer(model, layers, recipe.label_smoothing, mixing(recipe, seed=0))
    trainer.compile(optimizer(recipe, order.steps, precision, model))
    trainer.build_metrics(order.images[:1], order.labels[:1])
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def changed_vectors(weights, random):
    """Weights whose biases and batch-norm variables are not 0 and 1, where an error in the translation might not show.

    Batch norm then shrinks what it gets: otherwise senet154 amplifies a difference of 1e-6 to 40 %.
    """
    return [
        w * random.uniform(0.2, 0.6, w.shape) + random.uniform(0, 0.2, w.shape) if w.ndim == 1 else w for w in weights
    ]


def keras_side(pipe, name, batch, steps, rounds, with_fit):
    """Send the weights and logits to compare; then train one round for each message received."""
    import keras

    from cifar_zoo import create_model
    from cifar_zoo.backend.environment import describe_environment
    from cifar_zoo.backend.precision import hardware_precision
    from cifar_zoo.backend.tensorflow_cpu import on_tensorflow_cpu
    from cifar_zoo.training.network import computing_in

    keras.utils.set_random_seed(0)
    model, recipe, precision = create_model(name, classifier_activation=None), recipe_of(name), hardware_precision()
    random = np.random.default_rng(1)
    model.set_weights(changed_vectors(model.get_weights(), random))
    images = random.integers(0, 256, (8, *model.input_shape[1:]), dtype="uint8")
    pipe.send(
        {
            "environment": describe_environment(),
            "precision": precision,
            "params": model.count_params(),
            "weights": {layer.name: layer.get_weights() for layer in model.layers},
            "images": images,
            "logits": model.predict_on_batch(images),
        }
    )
    order = random_order(batch)
    memory = MemoryOfSteps()
    with computing_in(model, precision):
        trainer = make_trainer(model, recipe, precision, order)
        trainer.fit(
            order.batches(0),
            epochs=WARM_UP + rounds,
            steps_per_epoch=steps,
            shuffle=False,
            callbacks=[clock(pipe.recv, pipe.send)],
            verbose=0,
        )
        pipe.send(
            {
                "memory": memory.peak(),
                "peak": fastest_product(keras.ops.matmul, keras.ops.convert_to_tensor, dtypes()),
                "profile": profile(trainer, order) if on_tensorflow_cpu() else None,
                "fit": fit_overhead(batch) if with_fit else None,
            }
        )


def profile(trainer, order):
    """Milliseconds of each kind of operation of TensorFlow in one step, over all threads."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    with tempfile.TemporaryDirectory() as folder:
        trainer.fit(order.batches(0), steps_per_epoch=1, shuffle=False, verbose=0)  # a graph for another call of `fit`
        tf.profiler.experimental.start(folder)
        trainer.fit(order.batches(0), steps_per_epoch=1, shuffle=False, verbose=0)
        tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = XSpace.FromString(file.read_bytes())
    kinds = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                path, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if "PartitionedCall/" in path:  # an operation of the compiled step
                    kinds[re.sub("^_MklNative|^_Mkl|^_", "", kind)] += event.duration_ps / 1e9
    return {kind: round(ms, 1) for kind, ms in kinds.most_common(8)}


def step_alone(trainer, batch, steps):
    """Run the compiled step of a trainer `steps` times, without `fit`."""
    import keras
    from keras import ops

    tensors = tuple(ops.convert_to_tensor(array) for array in batch)
    # The PyTorch trainer's train_function takes a list of batches, those of TensorFlow and JAX an iterator.
    data = [tensors] if keras.backend.backend() == "torch" else itertools.repeat(tensors)
    if keras.backend.backend() != "jax":
        for _ in range(steps):
            logs = trainer.train_function(data)
    else:  # JAX's takes and returns the state; it donates its buffers, hence the copies
        groups = trainer.trainable_variables, trainer.non_trainable_variables, trainer.optimizer.variables
        state = [[ops.copy(v) for v in group] for group in (*groups, trainer.metrics_variables)]
        for _ in range(steps):
            logs, state = trainer.train_function(state, data)
    return float(logs["loss"])  # waits for the device


def fit_overhead(batch, steps=100, rounds=9):
    """Milliseconds per step in `fit` with the callbacks of `fit_cifar10`, of the step alone, and their difference."""
    import keras

    from cifar_zoo.training.callbacks.checkpointing import Checkpointing
    from cifar_zoo.training.callbacks.deadline import Deadline
    from cifar_zoo.training.callbacks.device_sync import DeviceSync
    from cifar_zoo.training.callbacks.history import HistoryLogger
    from cifar_zoo.training.callbacks.progress import ProgressDisplay
    from cifar_zoo.training.callbacks.session import Session
    from cifar_zoo.training.clock import Clock
    from cifar_zoo.training.recipe import Recipe
    from cifar_zoo.training.run import RunDirectory

    recipe, order = Recipe(epochs=rounds + 1), random_order(batch, steps * batch)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    trainer = make_trainer(keras.Sequential([keras.Input((32, 32, 3)), *layers]), recipe, "float32", order)
    alone, whole = [], []

    def measure_alone():
        if whole:  # the step is compiled
            alone.append(timed(lambda: step_alone(trainer, next(order.batches(0)), steps))[0])

    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder), {}, resume=True)
        session = Session(run, Clock(), order.steps, batch, seed=0)
        deadline, checkpointing = Deadline(session), Checkpointing(session)
        sync = DeviceSync(session, [deadline, checkpointing])
        own = [sync, HistoryLogger(session, None), deadline, checkpointing]
        display = ProgressDisplay(recipe.epochs, order.steps, batch, verbose=0)
        trainer.fit(
            order.batches(0),
            epochs=recipe.epochs,
            steps_per_epoch=order.steps,
            shuffle=False,
            callbacks=[clock(measure_alone, lambda seconds: whole.append(seconds[0])), *own, display],
            verbose=0,
        )
    whole, alone = 1e3 * np.array(whole[1:]) / steps, 1e3 * np.array(alone) / steps
    medians = {"fit_ms": np.median(whole), "step_alone_ms": np.median(alone), "overhead_ms": np.median(whole - alone)}
    return {key: float(value) for key, value in medians.items()}


def torch_side(pipe, name, batch, steps, rounds):
    """Check the translation against the logits received; then train one round for each message received."""
    os.environ["KERAS_BACKEND"] = "torch"  # Keras supplies the graph; load no other framework
    import torch

    from cifar_zoo import create_model

    reference = pipe.recv()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    height, width = reference["images"].shape[1:3]
    network = translate(create_model(name, classifier_activation=None), reference["weights"])
    params = sum(p.numel() for p in itertools.chain(network.parameters(), network.buffers()) if p.is_floating_point())
    assert params == reference["params"], f"{params} parameters in PyTorch, {reference['params']} in Keras"
    with torch.no_grad():
        logits = network.eval()(torch.tensor(reference["images"])).numpy()
    error = np.abs(logits - reference["logits"]).max() / np.abs(reference["logits"]).max()
    assert error < 1e-3, f"the logits differ by {error:.1e} of the largest"  # rounding through 50 layers gives 1e-4

    recipe = recipe_of(name)
    network = network.to(device, memory_format=torch.channels_last).train()
    pad_on_both_sides(network)
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim < 2]
    weights = [*kernels, *others]
    optimizer = torch.optim.SGD(
        [{"params": kernels, "weight_decay": recipe.l2}, {"params": others}],
        lr=1e-3,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=True,
    )
    averages = [p.detach().clone() for p in weights]

    def step(images, labels, precision):
        images, labels = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device).long()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(crop_and_flip(images, height, width, recipe))
        loss = torch.nn.functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.global_clipnorm:
            torch.nn.utils.clip_grad_norm_(weights, recipe.global_clipnorm, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - recipe.ema_decay)
        return loss

    batches = random_order(batch).batches(0)
    pipe.send({"torch": torch.__version__, "logits_differ_by": float(error)})
    memory = MemoryOfSteps()

    def seconds_in(precision):  # `item` waits for the device
        return timed(lambda: [step(*next(batches), precision) for _ in range(steps)][-1].item())

    precisions = dtypes()
    pipe.recv()
    once = [seconds_in(precision) for precision in precisions]
    pipe.send(once[0])
    pipe.recv()
    again = {precision: seconds_in(precision) for precision in precisions}
    precision = min(again, key=lambda precision: again[precision][0])
    pipe.send(again[precision])
    for _ in range(rounds):
        pipe.recv()
        pipe.send(seconds_in(precision))

    def make(values, dtype):
        return torch.tensor(values, dtype=getattr(torch, dtype), device=device)

    pipe.send(
        {"memory": memory.peak(), "precision": precision, "peak": fastest_product(torch.matmul, make, precisions)}
    )


def crop_and_flip(images, height, width, recipe):
    """Randomly crop (after padding by reflection) and flip each image, in one gather."""
    import torch

    batch, rows, columns, _ = images.shape

    def window(size, length):
        start = torch.randint(0, size + 2 * recipe.padding - length + 1, (batch, 1), device=images.device)
        place = (start - recipe.padding + torch.arange(length, device=images.device)).abs()
        return (size - 1) - ((size - 1) - place).abs()

    row, column = window(rows, height), window(columns, width)
    if recipe.flip:
        column = torch.where(torch.rand(batch, 1, device=images.device) < 0.5, column.flip(1), column)
    return images[torch.arange(batch, device=images.device)[:, None, None], row[:, :, None], column[:, None, :]]


def alternate(sides, rounds):
    """Let the sides run in turn; return an array (sides, rounds, 2) of wall and CPU seconds."""

    def run(pipe):
        pipe.send("go")
        return pipe.recv()

    return np.array([[run(pipe) for pipe in sides] for _ in range(WARM_UP + rounds)]).swapaxes(0, 1)[:, WARM_UP:]


def compare(name, batch, steps, rounds, with_fit):
    """Throughput of both sides in images/s, with what explains it."""
    processes = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for side, more in ((keras_side, [with_fit]), (torch_side, [])):
        pipe, own = processes.Pipe()
        child = processes.Process(target=side, args=(own, name, batch, steps, rounds, *more), daemon=True)
        child.start()
        own.close()  # so that the pipe closes when the process ends
        pipes.append(pipe)
        children.append(child)
    ours, torch = pipes
    try:
        report = ours.recv()
        torch.send({key: report[key] for key in ("params", "weights", "images", "logits")})
        checked = torch.recv()
        seconds = alternate(pipes, rounds)
        found = dict(zip(SIDES, (pipe.recv() for pipe in pipes), strict=True))
    finally:  # where one side has failed, the other one would wait for it
        for child in children:
            child.join(timeout=10)
            child.kill()
    per_second = dict(zip(SIDES, batch * steps / np.median(seconds, axis=1), strict=True))
    peak = max(side["peak"] for side in found.values())
    return {
        **report["environment"],
        "torch": checked["torch"],
        "network": name,
        "precision": {"ours": report["precision"], "torch": found["torch"]["precision"]},
        "batch": batch,
        "steps": steps,
        "rounds": rounds,
        "params": report["params"],
        "logits_differ_by": checked["logits_differ_by"],
        "images_per_second": {side: float(own[0]) for side, own in per_second.items()},
        "images_per_cpu_second": {side: float(own[1]) for side, own in per_second.items()},
        "ratio_wall": float(np.median(seconds[1, :, 0] / seconds[0, :, 0])),
        "ratio_cpu": float(np.median(seconds[1, :, 1] / seconds[0, :, 1])),
        "multiply_adds_per_image": multiply_adds_of_step(name),
        "peak_multiply_adds_per_second": peak,
        "share_of_peak": {side: float(multiply_adds_of_step(name) * own[0] / peak) for side, own in per_second.items()},
        "memory_bytes": {side: own["memory"] for side, own in found.items()},
        "profile_ms": found["ours"]["profile"],
        "rounds_seconds": {side: own.tolist() for side, own in zip(SIDES, seconds, strict=True)},
        "fit": found["ours"]["fit"],
    }


@functools.cache
def multiply_adds_of_step(name):
    """Multiply-adds of a step for one image: the backward pass has twice those of the forward pass."""
    from cifar_zoo.evaluation.costs import layer_table

    return 3 * sum(row.multiply_adds for row in layer_table(name))


def size_of_round(name, batch, steps):
    """The batch and the number of steps of a round, where they are not given: a few seconds on two cores."""
    multiply_adds = multiply_adds_of_step(name)
    batch = batch or (128 if multiply_adds < 2e9 else 32)
    return batch, steps or min(max(math.ceil(2e11 / (batch * multiply_adds)), 1), 12)


def compare_all(batch, steps, rounds, file):
    """Add every network that the file does not hold."""
    from cifar_zoo import list_models

    reports = json.loads(file.read_text()) if file.exists() else []
    done, failed = {report["network"] for report in reports}, []
    for name in list_models():
        if name in done:
            continue
        try:
            report = compare(name, *size_of_round(name, batch, steps), rounds, with_fit=False)
        except (EOFError, BrokenPipeError):  # one side failed, or was killed for lack of memory
            print(f"{name:<28s}not measured", flush=True)
            failed.append(name)
            continue
        reports.append(report)
        partial = file.with_suffix(".tmp")
        partial.write_text(json.dumps(reports, indent=1) + "\n")
        partial.replace(file)  # whole at any time
        ours, torch = report["images_per_second"].values()
        print(f"{name:<28s}{ours:9.1f} images/s {torch:9.1f} in PyTorch {report['ratio_wall']:7.2f}", flush=True)
    if failed:
        raise SystemExit(f"one of the two processes failed, or found no memory: {', '.join(failed)}")


def main():
    """Measure, print the figures, and write them to a file if one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", help="registered name, or none to measure only the overhead of fit")
    parser.add_argument("--all", action="store_true", help="every network that is not yet in the file")
    parser.add_argument("--batch", type=int, help="default: 128, with --all 32 for large networks")
    parser.add_argument("--steps", type=int, help="steps per round; default: 12, with --all fewer for large networks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    if arguments.all:
        if arguments.network or not arguments.json:
            parser.error("--all needs --json, and no network")
        compare_all(arguments.batch, arguments.steps, arguments.rounds, arguments.json)
        return
    if not arguments.network:
        parser.error("give a network, none or --all")
    batch = arguments.batch or 128
    if arguments.network == "none":
        from cifar_zoo.backend.environment import describe_environment

        report = {**describe_environment(), "batch": batch, "fit": fit_overhead(batch)}
    else:
        report = compare(arguments.network, batch, arguments.steps or 12, arguments.rounds, with_fit=True)
    for key, value in report.items():
        print(f"{key:<24s}{json.dumps(value)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
