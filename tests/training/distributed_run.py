"""Trains squeeze1 on all devices of JAX and prints figures as JSON: python distributed_run.py RUN_DIR DATA."""

import argparse
import json
from pathlib import Path

import keras

import cifar_zoo
from cifar_zoo.files import read_history


class Stop(keras.callbacks.Callback):
    """Stops as Ctrl-C does, in the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def main():
    """Train, and print."""
    import jax

    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir")
    parser.add_argument("data")
    parser.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    if len(jax.devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    recipe = cifar_zoo.Recipe(epochs=2, batch_size=56, learning_rate=0.005, global_clipnorm=1.0)
    found = {"devices": len(jax.devices())}
    try:
        run = cifar_zoo.fit_cifar10(
            "squeeze1",
            recipe,
            data=arguments.data,
            holdout=37,
            evaluate_test=True,
            run_dir=arguments.run_dir,
            precision="float32",
            callbacks=[Stop()] if arguments.stop else [],
            verbose=0,
        )
        history, metrics = run.history, run.metrics
        found |= {key: metrics[key] for key in ("test_correct", "test_images", "test_loss")}
    except KeyboardInterrupt:
        history = read_history(Path(arguments.run_dir) / "history.csv")
    found |= {key: [row[key] for row in history] for key in ("loss", "val_loss")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
