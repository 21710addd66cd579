"""How fast a network trains: our step beside the same network written plainly in PyTorch.

    KERAS_BACKEND=jax python benchmarks/train_step.py resnet18 --batch 128 --steps 12 --rounds 5 --json step.json
    python benchmarks/train_step.py none

Our side is `Trainer.fit` with the network's "zoo" recipe, but always SGD with L2, a random flip and no cutout: batches
of uint8 images, augmentation in the step, the average of the weights, bfloat16 where the hardware has it. PyTorch's
side is the same by hand: the crop and flip as one gather, channels-last, autocast, its fused SGD, and `_foreach_lerp_`
for the average.

The two are processes that take turns, one idle while the other runs, so that whatever else the machine does falls on
both. The median of the rounds counts. Before that both give their logits in float32 with the same weights; these must
agree. For them PyTorch pads as TensorFlow does, which puts what is odd to the right and the bottom where strides make
it so. In the steps it pads on both sides alike, which is what it is fast at.

The second command, and the end of the first, measure what `fit` itself costs a step, with the callbacks of
`fit_cifar10`, on a network so small that nothing else counts.
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

WARM_UP = 2  # rounds that do not count
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
    """Batches of random images without end, as a training sees them."""
    from cifar_zoo.training.batches import ShuffledBatches

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (examples, 32, 32, 3), dtype="uint8")
    return ShuffledBatches(images, random.integers(0, 10, examples, dtype="uint8"), batch, seed=0)


def recipe_of(name):
    """The recipe of a network without Muon, cutout and alternating flip; the PyTorch side must know all else of it."""
    from cifar_zoo.training.recipe import Recipe
    from cifar_zoo.training.recipes import find_recipe

    recipe = find_recipe("zoo", name).with_(optimizer="sgd", sgd_lr_multiplier=1.0, cutout=0, alternating_flip=False)
    length = {"epochs": recipe.epochs, "warmup_epochs": recipe.warmup_epochs}
    if recipe != Recipe(**length, **{field: getattr(recipe, field) for field in KNOWN_TO_TORCH}):
        raise SystemExit(f"the PyTorch side knows of a recipe only {', '.join(KNOWN_TO_TORCH)}")
    return recipe


def clock(before=lambda: None, after=lambda seconds: None):
    """A Keras callback that times epochs: `before` is called ahead of each, `after` with its wall and CPU seconds."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            before()
            self.start = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch, logs=None):  # Keras has read the loss, so the device is done
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
    """Send what the other side needs for its check; then train a round for every message."""
    import keras

    from cifar_zoo import create_model
    from cifar_zoo.backend.environment import describe_environment
    from cifar_zoo.backend.precision import hardware_precision
    from cifar_zoo.training.network import computing_in

    keras.utils.set_random_seed(0)
    model, recipe, precision = create_model(name, classifier_activation=None), recipe_of(name), hardware_precision()
    random = np.random.default_rng(1)
    # Biases and batch norm are moved from 0 and 1, where a mistake might not show.
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
    """Run the compiled step of a trainer so many times, without anything around it."""
    import keras
    from keras import ops

    tensors = tuple(ops.convert_to_tensor(array) for array in batch)
    # PyTorch's step takes the batches of one call, the others' an iterator of batches.
    data = [tensors] if keras.backend.backend() == "torch" else itertools.repeat(tensors)
    if keras.backend.backend() != "jax":
        for _ in range(steps):
            logs = trainer.train_function(data)
    else:  # there a step takes the state and gives it back; copies, because it also eats it
        groups = trainer.trainable_variables, trainer.non_trainable_variables, trainer.optimizer.variables
        state = [[ops.copy(v) for v in group] for group in (*groups, trainer.metrics_variables)]
        for _ in range(steps):
            logs, state = trainer.train_function(state, data)
    return float(logs["loss"])  # waits for the device


def fit_overhead(batch, steps=100, rounds=9):
    """Milliseconds of a step by `fit` with the callbacks of `fit_cifar10`, of the step alone, and the difference."""
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
    """Check the translation against what the other side sends; then train a round for every message."""
    os.environ["KERAS_BACKEND"] = "torch"  # the graph of the network is read from Keras; no other framework beside
    import torch

    from cifar_zoo import create_model

    theirs = pipe.recv()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    height, width = theirs["images"].shape[1:3]
    network = translate(create_model(name, classifier_activation=None), theirs["weights"])
    params = sum(p.numel() for p in itertools.chain(network.parameters(), network.buffers()) if p.is_floating_point())
    assert params == theirs["params"], f"{params} parameters in PyTorch, {theirs['params']} in Keras"
    with torch.no_grad():
        logits = network.eval()(torch.tensor(theirs["images"])).numpy()
    error = np.abs(logits - theirs["logits"]).max() / np.abs(theirs["logits"]).max()
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
    autocast = torch.autocast(device, torch.bfloat16, enabled=theirs["precision"] == "mixed_bfloat16")

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
    """Reflect, crop and mirror each image at random, in one gather."""
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


def take_turns(sides, rounds):
    """Seconds of each side by round: an array (sides, rounds, 2) of wall and CPU time."""

    def run(pipe):
        pipe.send("go")
        return pipe.recv()

    return np.array([[run(pipe) for pipe in sides] for _ in range(WARM_UP + rounds)]).swapaxes(0, 1)[:, WARM_UP:]


def compare(name, batch, steps, rounds):
    """Images per second of both sides, and what `fit` costs."""
    processes = multiprocessing.get_context("spawn")
    pipes = []
    for side in (keras_side, torch_side):
        pipe, own = processes.Pipe()
        processes.Process(target=side, args=(own, name, batch, steps, rounds), daemon=True).start()
        own.close()  # so that the end of the process ends the pipe
        pipes.append(pipe)
    ours, theirs = pipes
    report = ours.recv()
    theirs.send({key: report[key] for key in ("precision", "params", "weights", "images", "logits")})
    checked = theirs.recv()
    seconds = take_turns(pipes, rounds)
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
    """Measure and print, and write what was measured where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a registered name, or none for the cost of fit alone")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the numbers")
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
