"""Trains a small network in one of several processes of JAX and prints figures as JSON.

python process_run.py RUN_DIR DATA [--process PORT PROCESSES PROCESS_ID] [--end STEP SIGNAL] [--seed SEED] ...
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time

import keras

import cifar_zoo
from cifar_zoo.backend.distribution import distribute_data
from cifar_zoo.backend.processes import join_processes, leave, process_index
from cifar_zoo.training import clock

SAVE_AT = 10  # the step before which a checkpoint is written


class Watch(keras.callbacks.Callback):
    """Records the loss of the epoch after each step, and ends this process by a signal before a step."""

    def __init__(self, end, slow):
        super().__init__()
        self.end, self.slow, self.losses = end, slow, []

    def on_epoch_begin(self, epoch, logs=None):
        self.step = int(self.model.optimizer.iterations)

    def on_train_batch_begin(self, batch, logs=None):
        clock.CHECKPOINT_SECONDS = -1.0 if self.step + 1 == SAVE_AT else 1e9
        if self.end and int(self.end[0]) == self.step:
            os.kill(os.getpid(), getattr(signal, self.end[1]))

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.losses.append(float(logs["loss"]))
        time.sleep(self.slow)


def network():
    """A network with what differs between devices and processes: batch norm, random draws, few variables."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, name="conv")(x)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(name="bn")(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.2)(x))
    return keras.Model(inputs, keras.layers.Dense(10, name="classifier")(x), name="small")


def main():
    """Train, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir")
    parser.add_argument("data")
    parser.add_argument("--process", nargs=3, type=int)
    parser.add_argument("--end", nargs=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-minutes", type=float)
    parser.add_argument("--slow", type=float, default=0.0)
    arguments = parser.parse_args()
    clock.SYNC_SECONDS = 0.0  # before every step
    if arguments.process:
        port, processes, process_id = arguments.process
        join_processes(f"127.0.0.1:{port}", processes, process_id)
        distribute_data()
    recipe = cifar_zoo.Recipe(
        epochs=3, batch_size=64, learning_rate=0.05, global_clipnorm=1.0, cutmix=1.0, cutout=4, ema_decay=0.9
    )
    watch = Watch(arguments.end, arguments.slow)
    options = {"data": arguments.data, "holdout": 37, "evaluate_test": True, "run_dir": arguments.run_dir}
    options |= {"precision": "float32", "callbacks": [watch], "seed": arguments.seed, "verbose": 2}
    options["max_minutes"] = arguments.max_minutes
    try:
        run = cifar_zoo.fit_cifar10(network(), recipe, **options)
    except cifar_zoo.CifarZooError as error:
        print(error, file=sys.stderr)
        leave(2)
        sys.exit(2)
    weights = hashlib.sha256(b"".join(value.tobytes() for value in run.model.get_weights())).hexdigest()
    found = {"losses": watch.losses, "weights": weights, "process": process_index()}
    found |= {key: [row[key] for row in run.history] for key in ("loss", "val_loss")}
    found |= {key: run.metrics.get(key) for key in ("test_loss", "test_images", "files", "processes")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
