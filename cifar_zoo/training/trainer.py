"""The Keras model that is trained: a network together with its augmentation and its loss."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from cifar_zoo.backend.distribution import outputs_everywhere
from cifar_zoo.evaluation.outputs import logits_model
from cifar_zoo.layers.mixup import mix_targets
from cifar_zoo.training.network import changed, flat_layers

Tensor = Any  # a tensor of the backend, or a NumPy array


class Trainer(keras.Model):
    """A network with augmentation and loss, all of which run on the device inside the compiled training step.

    The loss is the categorical cross-entropy, and the only metric is the accuracy.

    Args:
        network: `keras.Model` from images to the logits or the probabilities of the classes.
        augmentation: List of layers that are applied to the images before the network.
        label_smoothing: Float in [0, 1]. Used in training only, as in `keras.losses.CategoricalCrossentropy`.
        mixing: Layer that mixes the augmented images of a batch, such as `Mixup`, or None.
        class_weights: Array of one number per class, by which the losses of its images are multiplied in training, or
            None.

    Call arguments:
        images: uint8 tensor of shape (batch, height, width, 3).
        training: Boolean. Whether the model is called in training mode, in which images are augmented and mixed.

    Returns: The class scores, a tensor of shape (batch, classes): logits if the network can provide them,
        probabilities otherwise. In training with a mixing layer, a tuple of the class scores and the mixing
        coefficients lam, of shape (batch,).
    """

    def __init__(
        self,
        network: keras.Model,
        augmentation: list[keras.layers.Layer],
        label_smoothing: float,
        mixing: keras.layers.Layer | None = None,
        class_weights: np.ndarray | None = None,
    ) -> None:
        super().__init__(name="trainer", dtype="float32")
        self.network = network
        self.augmentation = augmentation
        self.label_smoothing = label_smoothing
        self.mixing = mixing
        self.class_weights = None if class_weights is None else np.asarray(class_weights, "float32")
        self.scores, self.from_logits = logits_model(network)
        policies = [(layer, layer.dtype_policy) for layer in flat_layers(network)]
        self._own_precision = lambda: changed(policies, "dtype_policy")  # a list would be tracked by Keras as sublayers

    def compile(self, optimizer: keras.optimizers.Optimizer, **options: Any) -> None:
        """Configure the model for training, with the accuracy as its metric."""
        super().compile(optimizer, metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")], **options)

    def call(self, images: Tensor, training: bool = False) -> Any:
        images = self._augment(images, training)
        if self.mixing is None:
            return self.scores(images, training=training)
        images, lam = self.mixing(images, training=training)
        scores = self.scores(images, training=training)
        return (scores, lam) if training else scores

    def build_metrics(self, images: Tensor, labels: Tensor) -> None:
        """Create the variables of the metrics, which Keras would create in the first step, for use in checkpoints."""
        self.compute_metrics(images, labels, self(images))
        self.reset_metrics()

    def _augment(self, images: Tensor, training: bool) -> Tensor:
        for layer in self.augmentation:
            images = layer(images, training=training)
        return images

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        scores, lam = y_pred if isinstance(y_pred, tuple) else (y_pred, None)
        classes = scores.shape[-1]
        labels = target = ops.one_hot(ops.cast(y, "int32"), classes)
        if training:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        if lam is not None:
            labels, target = mix_targets(labels, lam), mix_targets(target, lam)
        losses = ops.categorical_crossentropy(target, scores, from_logits=self.from_logits)
        if training and self.class_weights is not None:
            losses = losses * ops.matmul(labels, self.class_weights)
        return ops.mean(losses)

    def compute_metrics(self, x: Tensor, y: Tensor, y_pred: Any, sample_weight: Any = None) -> dict[str, Tensor]:
        # With mixing, the accuracy compares with the label of the unmixed image.
        return super().compute_metrics(x, y, y_pred[0] if isinstance(y_pred, tuple) else y_pred)

    # Callbacks such as `ModelCheckpoint` save and load the network, without the trainer around it.

    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Save the network, with the dtype policies that its layers have outside of training."""
        with self._own_precision():
            self.network.save(filepath, overwrite=overwrite, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Save the weights of the network."""
        self.network.save_weights(filepath, overwrite=overwrite, **options)

    def load_weights(self, filepath: Any, **options: Any) -> None:
        """Load the weights of the network."""
        self.network.load_weights(filepath, **options)


class BatchStatistics(keras.Model):
    """Recomputes the batch-norm statistics of a network, as `torch.optim.swa_utils.update_bn` does.

    The statistics are averaged over batches of augmented images. Every batch has the same weight, whatever the momentum
    of the layers.

    Args:
        trainer: `Trainer` of the network.
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
        """Set the batch-norm statistics of the network to their average over `count` batches.

        Args:
            batches: Iterator of image batches, uint8 arrays of shape (batch, height, width, 3), of which each process
                gives its own rows.
            count: Integer. Number of batches.
        """
        if not self._averages:
            return
        of_last_batch = changed([(layer, 0.0) for layer in self._norms()], "momentum")  # the moving statistics
        with of_last_batch, outputs_everywhere(self):
            self.compile()
            self.predict(((batch,) for batch in itertools.islice(batches, count)), steps=count, verbose=0)
        for average, moving in zip(self._averages, self._moving(), strict=True):
            moving.assign(ops.copy(average))
