"""The model that is trained: a network with augmentation before it and the recipe's loss behind it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from cifar_zoo.evaluation.outputs import logits_model
from cifar_zoo.layers.mixup import mix_targets
from cifar_zoo.training.network import changed, flat_layers

Tensor = Any  # of the backend, or a NumPy array


class Trainer(keras.Model):
    """A network with augmentation and loss; all of it runs inside Keras' compiled step, on the device.

    Args:
        network: from pixels to the logits or probabilities of the classes.
        augmentation: layers from the images of the data set to those of the network.
        label_smoothing: share of the target that is spread over all classes in training.
        mixing: None, or a layer such as `Mixup` between the augmentation and the network.

    Call arguments:
        images: uint8 (batch, rows, columns, 3).
        training: whether images are augmented and dropout drops.

    Returns: the scores (batch, classes), logits where the network has them. With mixing, in training, a pair of these
        and the share (batch,) of each image in what the network saw in its place.
    """

    def __init__(
        self,
        network: keras.Model,
        augmentation: list[keras.layers.Layer],
        label_smoothing: float,
        mixing: keras.layers.Layer | None = None,
    ) -> None:
        super().__init__(name="trainer", dtype="float32")
        self.network = network
        self.augmentation = augmentation
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.scores, self.from_logits = logits_model(network)
        policies = [(layer, layer.dtype_policy) for layer in flat_layers(network)]
        self._own_precision = lambda: changed(policies, "dtype_policy")  # Keras would track a list of layers

    def compile(self, optimizer: keras.optimizers.Optimizer, **options: Any) -> None:
        """Prepare the training; its loss and its metric are given."""
        super().compile(optimizer, metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")], **options)

    def call(self, images: Tensor, training: bool = False) -> Any:
        images = self._augment(images, training)
        if self.mixing is None:
            return self.scores(images, training=training)
        images, share = self.mixing(images, training=training)
        scores = self.scores(images, training=training)
        return (scores, share) if training else scores

    def build_metrics(self, images: Tensor, labels: Tensor) -> None:
        """Make the variables of the metrics, which Keras would make only in the first step: a checkpoint holds them."""
        self.compute_metrics(images, labels, self(images))
        self.reset_metrics()

    def _augment(self, images: Tensor, training: bool) -> Tensor:
        for layer in self.augmentation:
            images = layer(images, training=training)
        return images

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        scores, share = y_pred if isinstance(y_pred, tuple) else (y_pred, None)
        classes = scores.shape[-1]
        target = ops.one_hot(ops.cast(y, "int32"), classes)
        if training:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        if share is not None:
            target = mix_targets(target, share)
        return ops.mean(ops.categorical_crossentropy(target, scores, from_logits=self.from_logits))

    def compute_metrics(self, x: Tensor, y: Tensor, y_pred: Any, sample_weight: Any = None) -> dict[str, Tensor]:
        # With mixing the accuracy is that by each image's own label.
        return super().compute_metrics(x, y, y_pred[0] if isinstance(y_pred, tuple) else y_pred)

    # What callbacks save and load is the network: the trainer around it is of no use to anybody.

    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Save the network, with the precision that it has outside of the training."""
        with self._own_precision():
            self.network.save(filepath, overwrite=overwrite, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Save the weights of the network."""
        self.network.save_weights(filepath, overwrite=overwrite, **options)

    def load_weights(self, filepath: Any, **options: Any) -> None:
        """Load the weights of the network."""
        self.network.load_weights(filepath, **options)


class BatchStatistics(keras.Model):
    """A trainer in training mode that averages its batch-norm statistics over the batches that it is called with.

    The average is cumulative, with the same weight for every batch, whatever the momentum of the layers is, as that of
    `torch.optim.swa_utils.update_bn`.

    Args:
        trainer: whose network has its statistics estimated, on images as in training.
    """

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(name="batch_statistics", dtype="float32")
        self.trainer = trainer
        shapes = [variable.shape for variable in self._moving()]
        self._averages = [self.add_weight(shape=shape, initializer="zeros", trainable=False) for shape in shapes]
        self._count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.built = True

    def _norms(self) -> list[keras.layers.Layer]:
        layers = {id(layer): layer for layer in flat_layers(self.trainer.network) if hasattr(layer, "moving_mean")}
        return [layer for layer in layers.values() if layer.trainable]

    def _moving(self) -> list[keras.Variable]:
        return [variable for layer in self._norms() for variable in (layer.moving_mean, layer.moving_variance)]

    def call(self, images: Tensor) -> Tensor:
        self.trainer(images, training=True)
        self._count.assign(self._count + 1.0)
        for average, moving in zip(self._averages, self._moving(), strict=True):
            average.assign(average + (moving - average) / self._count)
        return ops.zeros((ops.shape(images)[0],))

    def estimate(self, batches: Iterator[np.ndarray], count: int) -> None:
        """Give the layers the average of their statistics over so many batches of images."""
        if not self._averages:
            return
        with changed([(layer, 0.0) for layer in self._norms()], "momentum"):  # they then hold those of the last batch
            self.compile()
            self.predict(((batch,) for batch in itertools.islice(batches, count)), steps=count, verbose=0)
        for average, moving in zip(self._averages, self._moving(), strict=True):
            moving.assign(ops.copy(average))
