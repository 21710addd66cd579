"""The model that is trained: a network with augmentation before it and the recipe's loss behind it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from cifar_zoo.evaluation.outputs import logits_model
from cifar_zoo.layers.mixup import mix_targets
from cifar_zoo.training.network import whitening_layers


class Trainer(keras.Model):
    """A network with augmentation and loss; all of it runs inside Keras' compiled step, on the device.

    Args:
        network: from pixels to the scores or probabilities of the classes.
        augmentation: layers from the images of the data set to those of the network.
        label_smoothing: share of the target that is spread over all classes in training.
        images: some of the data set, to find out what the network gives.
        mixing: None, or a layer such as `Mixup` between the augmentation and the network.

    Call arguments:
        images: uint8 (batch, rows, columns, 3).
        training: whether images are augmented and dropout drops.

    Returns: the scores (batch, classes), logits where the network has them. With mixing, in training, a pair of these
        and the share (batch,) of each image in what the network saw in its place.
    """

    steps_per_execution: int
    train_function: Callable | None

    def __init__(
        self,
        network: keras.Model,
        augmentation: list[keras.layers.Layer],
        label_smoothing: float,
        images: np.ndarray,
        mixing: keras.layers.Layer | None = None,
    ) -> None:
        super().__init__(name="trainer", dtype="float32")
        self.network = network
        self.augmentation = augmentation
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.scores, self.from_logits = logits_model(network)
        # Not left to `compile`, which would make its variables only in the first step: a checkpoint holds them.
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def call(self, images, training=False):
        images = self._augment(images, training)
        if self.mixing is None:
            return self.scores(images, training=training)
        images, share = self.mixing(images, training=training)
        scores = self.scores(images, training=training)
        return (scores, share) if training else scores

    def change_step(self, together: int, hold_whitening: bool) -> None:
        """Compile the training step anew, if it has to be another.

        Args:
            together: number of steps in one call.
            hold_whitening: whether the biases of whitening layers get no gradient.
        """
        whitening = [layer for layer in whitening_layers(self.network) if layer.held != hold_whitening]
        for layer in whitening:
            layer.held = hold_whitening
        if whitening or together != self.steps_per_execution:
            self.steps_per_execution = together
            self.make_train_function(force=True)

    def make_train_function(self, force=False):
        """Compile the step; with JAX several steps in one call are a scan, which Keras would call one by one."""
        new = self.train_function is None or force
        super().make_train_function(force)
        if new and self.steps_per_execution > 1 and keras.backend.backend() == "jax":
            self.train_function = _scan(self.train_step, self.steps_per_execution)

    def _augment(self, images, training):
        for layer in self.augmentation:
            images = layer(images, training=training)
        return images

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        scores, share = y_pred if isinstance(y_pred, tuple) else (y_pred, None)
        classes = scores.shape[-1]
        target = ops.one_hot(ops.cast(y, "int32"), classes)
        if training:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        if share is not None:
            target = mix_targets(target, share)
        return ops.mean(ops.categorical_crossentropy(target, scores, from_logits=self.from_logits))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        # With mixing the accuracy is that by each image's own label.
        self.accuracy.update_state(y, y_pred[0] if isinstance(y_pred, tuple) else y_pred)
        return self.get_metrics_result()


def _scan(step: Callable, count: int) -> Callable:
    """A function (state, iterator) -> (logs, state) for so many steps in one compiled call of JAX."""
    import jax

    def one(state, batch):
        logs, state = step(state, batch)
        return state, logs

    @functools.partial(jax.jit, donate_argnums=0)
    def several(state, batches):
        state, logs = jax.lax.scan(one, state, batches)
        return keras.tree.map_structure(lambda values: values[-1], logs), state

    def execute(state, iterator):
        batches = list(itertools.islice(iterator, count))
        return several(state, keras.tree.map_structure(lambda *parts: np.stack(parts), *batches))

    return execute


class TrainingMode(keras.Model):
    """A network that behaves as in training when it predicts: its batch-norm statistics move."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="training_mode", dtype="float32")
        self.network = network

    def call(self, images):
        return self.network(images, training=True)
