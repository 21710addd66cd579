"""Throughput of the training step of a network: the zoo compared with the same network in plain PyTorch.

    KERAS_BACKEND=jax python benchmarks/train_step.py resnet18 --batch 128 --steps 12 --rounds 5 --json step.json
    python benchmarks/train_step.py none

The zoo trains by `Trainer.fit` with the network's recipe "zoo", but always with SGD and L2, a random flip and no
cutout: batches of uint8 images, augmentation inside the step, an exponential moving average of the weights (EMA), and
bfloat16 where the hardware supports it. The PyTorch code does the same by hand: crop and flip as one gather,
channels-last, autocast, PyTorch's fused SGD, and `_foreach_lerp_` for the EMA.

The two run in separate processes that alternate, one idle while the other runs, so that other load on the machine
affects both. The figures are medians over the rounds. First both compute logits in float32 with the same weights, which
must agree. For these PyTorch pads as TensorFlow does: where a stride makes the padding odd, the larger part is on the
right and at the bottom. In the timed steps it pads symmetrically, which is faster in PyTorch.

The second command, and the end of the first, measure the overhead of `fit` per step, with the callbacks of
`fit_cifar10`, on a network so small that its own computation is negligible.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from in_torch import pad_on_both_sides, translate

WARM_UP = 2  # rounds that are not measured
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
    """The recipe of a network without Muon, cutout and alternating flip. The PyTorch code must support all the rest."""
    from cifar_zoo.training.recipe import Recipe
    from cifar_zoo.training.recipes import find_recipe

    recipe = find_recipe("zoo", name).with_(optimizer="sgd", sgd_lr_multiplier=1.0, cutout=0, alternating_flip=False)
    plain = {field: getattr(recipe, field) for field in ("epochs", "warmup_epochs", "batch_size")}
    if recipe != Recipe(**plain, **{field: getattr(recipe, field) for field in KNOWN_TO_TORCH}):
        raise SystemExit(f"of a recipe, the PyTorch code supports only {', '.join(KNOWN_TO_TORCH)}")
    return recipe


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


def keras_side(pipe, name, batch, steps, rounds):
    """Send the weights and logits to compare; then train one round for each message received."""
    import keras

    from cifar_zoo import create_model
    from cifar_zoo.backend.environment import describe_environment
    from cifar_zoo.backend.precision import hardware_precision
    from cifar_zoo.training.network import computing_in

    keras.utils.set_random_seed(0)
    model, recipe, precision = create_model(name, classifier_activation=None), recipe_of(name), hardware_precision()
    random = np.random.default_rng(1)
    # Change biases and batch-norm variables from 0 and 1, where an error in the translation might not show.
    model.set_weights([w + random.uniform(0, 0.2, w.shape) * (w.ndim == 1) for w in model.get_weights()])
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
    with computing_in(model, precision):
        make_trainer(model, recipe, precision, order).fit(
            order.batches(0),
            epochs=WARM_UP + rounds,
            steps_per_epoch=steps,
            shuffle=False,
            callbacks=[clock(pipe.recv, pipe.send)],
            verbose=0,
        )
    pipe.send(fit_overhead(batch))


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
        display = ProgressDisplay(recipe.epochs, order.steps, batch, trainer.optimizer._learning_rate, verbose=0)
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
    autocast = torch.autocast(device, torch.bfloat16, enabled=reference["precision"] == "mixed_bfloat16")

    def step(images, labels):
        images, labels = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device).long()
        with autocast:
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
    for _ in range(WARM_UP + rounds):
        pipe.recv()
        pipe.send(timed(lambda: [step(*next(batches)) for _ in range(steps)][-1].item()))  # waits for the device


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


def compare(name, batch, steps, rounds):
    """Throughput of both sides in images/s, and the overhead of `fit`."""
    processes = multiprocessing.get_context("spawn")
    pipes = []
    for side in (keras_side, torch_side):
        pipe, own = processes.Pipe()
        processes.Process(target=side, args=(own, name, batch, steps, rounds), daemon=True).start()
        own.close()  # so that the pipe closes when the process ends
        pipes.append(pipe)
    ours, torch = pipes
    report = ours.recv()
    torch.send({key: report[key] for key in ("precision", "params", "weights", "images", "logits")})
    checked = torch.recv()
    seconds = alternate(pipes, rounds)
    overhead = ours.recv()
    per_second = batch * steps / np.median(seconds, axis=1)
    sides = ("ours", "torch")
    return {
        **report["environment"],
        "torch": checked["torch"],
        "network": name,
        "precision": report["precision"],
        "batch": batch,
        "steps": steps,
        "rounds": rounds,
        "params": report["params"],
        "logits_differ_by": checked["logits_differ_by"],
        "images_per_second": {side: float(own[0]) for side, own in zip(sides, per_second, strict=True)},
        "images_per_cpu_second": {side: float(own[1]) for side, own in zip(sides, per_second, strict=True)},
        "ratio_wall": float(np.median(seconds[1, :, 0] / seconds[0, :, 0])),
        "ratio_cpu": float(np.median(seconds[1, :, 1] / seconds[0, :, 1])),
        "rounds_seconds": {side: own.tolist() for side, own in zip(sides, seconds, strict=True)},
        "fit": overhead,
    }


def main():
    """Measure, print the figures, and write them to a file if one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="registered name, or none to measure only the overhead of fit")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    if arguments.network == "none":
        from cifar_zoo.backend.environment import describe_environment

        report = {**describe_environment(), "batch": arguments.batch, "fit": fit_overhead(arguments.batch)}
    else:
        report = compare(arguments.network, arguments.batch, arguments.steps, arguments.rounds)
    for key, value in report.items():
        print(f"{key:<24s}{json.dumps(value)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
