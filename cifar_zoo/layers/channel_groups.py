"""What the layers that divide the channels into groups share."""

import keras

from cifar_zoo.checks import integer


class ChannelGroups(keras.layers.Layer):
    """Base of a layer for feature maps whose channels form `groups` of the same size."""

    def __init__(self, groups=2, **kwargs):
        super().__init__(**kwargs)
        self.groups = integer("groups", groups)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError(f"{input_shape[-1]} channels do not make groups={self.groups} of the same size")

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
