"""Batch normalization that is fast on TensorFlow and PyTorch too."""

import math

import keras


@keras.saving.register_keras_serializable(package="cifar_zoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalization over the last axis, in the fused kernels of TensorFlow (for training) and PyTorch.

    Keras computes it in several float32 operations, which on a CPU take half of the time of a small residual network.
    The result, the gradients and the moving statistics are the same, and so are the weights files.

    Args:
        momentum: number in [0, 1]: the share of the moving statistics that a step keeps.
        epsilon: positive number, added to the variance.
        **kwargs: those of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: a tensor (batch, height, width, channels), or of any rank from 2 with the channels last.
        training: boolean.

    Returns: a tensor of the same shape and dtype.

    Raises:
        ValueError: for a momentum outside [0, 1], an epsilon that is not positive, or inputs of another rank than at
            first.

    Example:
        >>> import numpy as np
        >>> from cifar_zoo import layers
        >>> layers.BatchNormalization()(np.ones((2, 8, 8, 16)), training=True).shape[-1]
        16
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], not {momentum}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, not {epsilon}")
        self.input_spec = keras.layers.InputSpec(min_ndim=2)

    def call(self, inputs, training=None, mask=None):
        plain = not self.synchronized and mask is None and self.axis in (-1, 3) and len(inputs.shape) == 4
        plain = plain and not getattr(self, "renorm", False)
        learns = bool(training) and self.trainable
        if plain and keras.backend.backend() == "tensorflow" and learns:
            return self._in_tensorflow(inputs)
        if plain and keras.backend.backend() == "torch" and not (learns and math.prod(inputs.shape[:3]) == 1):
            return self._in_torch(inputs, learns)
        return super().call(inputs, training=training, mask=mask)

    def _in_tensorflow(self, inputs):
        import tensorflow as tf

        channels, nothing = inputs.shape[-1], tf.zeros([0])
        scale = tf.cast(keras.ops.convert_to_tensor(self.gamma), tf.float32) if self.scale else tf.ones([channels])
        offset = tf.cast(keras.ops.convert_to_tensor(self.beta), tf.float32) if self.center else tf.zeros([channels])
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=nothing, variance=nothing, epsilon=self.epsilon, is_training=True
        )
        self._follow(mean, variance, tf.cast(tf.size(inputs) / channels, tf.float32))
        return outputs

    def _in_torch(self, inputs, learns):
        import torch

        dtype = keras.backend.result_type(inputs.dtype, "float32")
        mean, variance = (keras.ops.cast(moving, dtype) for moving in (self.moving_mean, self.moving_variance))
        if learns:  # to be filled with those of the batch
            mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
        outputs = torch.nn.functional.batch_norm(
            inputs.permute(0, 3, 1, 2),  # a view
            mean,
            variance,
            keras.ops.cast(self.gamma, dtype) if self.scale else None,
            keras.ops.cast(self.beta, dtype) if self.center else None,
            training=learns,
            momentum=1.0,
            eps=self.epsilon,
        )
        if learns:
            self._follow(mean, variance, inputs.numel() // inputs.shape[-1])
        return outputs.permute(0, 2, 3, 1)

    def _follow(self, mean, variance, count):
        """Move the moving statistics towards those of a batch, whose variance the kernels divide by n - 1."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
