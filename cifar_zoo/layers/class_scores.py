"""Activation layer of a classifier that keeps the names of the classes."""

import keras

from cifar_zoo.errors import CifarZooError, shown


@keras.saving.register_keras_serializable(package="cifar_zoo")
class ClassScores(keras.layers.Activation):
    """Applies the last activation of a classifier, and keeps the names of its classes in the saved model.

    The names are part of the layer's configuration, so that a model that ends in this layer has them wherever it is
    loaded: `cifar_zoo.predict` answers with them.

    Args:
        class_names: Sequence of strings, the names of the classes in the order of the scores.
        activation: String or callable. The activation function, as in `keras.layers.Activation`.
        **kwargs: Other arguments of `keras.layers.Activation`.

    Call arguments:
        inputs: A tensor of any shape with the classes in its last axis.

    Returns:
        A tensor of the same shape and dtype as `inputs`.

    Raises:
        ValueError: If the names are not strings or not distinct, the inputs have another number of classes, or Keras
            does not know the activation.

    Example:
        >>> import keras, numpy as np
        >>> from cifar_zoo import layers
        >>> outputs = layers.ClassScores(["cat", "dog"])(np.array([[0.0, 0.0]]))
        >>> print(keras.ops.convert_to_numpy(outputs))
        [[0.5 0.5]]
    """

    def __init__(self, class_names, activation="softmax", **kwargs):
        super().__init__(activation, **kwargs)
        names = None if isinstance(class_names, str) else list(class_names)
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise CifarZooError(f"class_names must be distinct strings, not {shown(class_names)}")
        self.class_names = names

    def build(self, input_shape):
        if input_shape[-1] != len(self.class_names):
            raise CifarZooError(f"there are {len(self.class_names)} class_names, and the inputs have {input_shape[-1]}")

    def get_config(self):
        return {**super().get_config(), "class_names": list(self.class_names)}
