"""Building blocks that several families share: convolutions with normalization and activation, trunks, and heads.

All convolutions take their arguments in the order `(x, filters, kernel_size, strides, name)`, followed by keyword
arguments. `name` is a prefix: `conv_bn_act` with the name "stem" creates the layers "stem_conv", "stem_bn" and
"stem_relu". Pooling and `conv_act` create one layer with exactly this name. Weights files refer to the layer names.

Every layer is created with the channels-last data format, whatever `keras.config.image_data_format()` is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cifar_zoo.lazy import Tensor, keras, layers
from cifar_zoo.models.lazy import zoo_layers

Size = int | tuple[int, int]
Stages = dict[str, Tensor]
Branch = Callable[[Tensor, int, int, str], Tensor]
Gate = Callable[[Tensor, int, str], Tensor]

CHANNELS_LAST = "channels_last"


def end_stage(x: Tensor, stages: Stages) -> Tensor:
    """Mark the end of a stage: add its feature map to `stages` under the next name, "stage1", "stage2", ..."""
    name = f"stage{len(stages) + 1}"
    stages[name] = layers.Identity(name=name)(x)
    return stages[name]


# Convolutions, normalization, activations and pooling.


def conv(
    x: Tensor,
    filters: int,
    kernel_size: Size,
    strides: int,
    name: str,
    *,
    padding: str = "same",
    kernel_initializer: Any = "he_normal",
    **options: Any,
) -> Tensor:
    """A convolution without an activation; `options` are those of `keras.layers.Conv2D`."""
    return conv_act(
        x,
        filters,
        kernel_size,
        strides,
        f"{name}_conv",
        activation=None,
        padding=padding,
        kernel_initializer=kernel_initializer,
        **options,
    )


def conv_act(
    x: Tensor,
    filters: int,
    kernel_size: Size,
    strides: int,
    name: str,
    *,
    activation: str | None = "relu",
    padding: str = "same",
    kernel_initializer: Any = "he_normal",
    **options: Any,
) -> Tensor:
    """A convolution with its activation in one layer, which is called `name`."""
    return zoo_layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding,
        data_format=CHANNELS_LAST,
        activation=activation,
        kernel_initializer=kernel_initializer,
        name=name,
        **options,
    )(x)


def grouped_conv(
    x: Tensor, filters: int, kernel_size: Size, strides: int, name: str, *, groups: int = 32, **options: Any
) -> Tensor:
    """A grouped convolution without an activation."""
    layer = zoo_layers.GroupedConv2D(
        filters, kernel_size, strides, groups=groups, data_format=CHANNELS_LAST, name=f"{name}_conv", **options
    )
    return layer(x)


def depthwise_conv(x: Tensor, kernel_size: Size, strides: int, name: str, *, initializer: Any = None) -> Tensor:
    """A depthwise convolution without bias; `initializer` is `per_channel_he()` by default."""
    return zoo_layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding="same",
        data_format=CHANNELS_LAST,
        use_bias=False,
        depthwise_initializer=initializer or per_channel_he(),
        name=f"{name}_conv",
    )(x)


def per_channel_he() -> keras.initializers.Initializer:
    """He initialization for depthwise kernels, for which the fan-out that Keras computes is the actual fan-in."""
    return keras.initializers.VarianceScaling(2.0, "fan_out")


def batch_norm(x: Tensor, name: str, *, epsilon: float = 1e-3, **options: Any) -> Tensor:
    """Batch norm; `options` are those of `cifar_zoo.layers.BatchNormalization`."""
    return zoo_layers.BatchNormalization(epsilon=epsilon, name=f"{name}_bn", **options)(x)


def act(x: Tensor, name: str, activation: str = "relu") -> Tensor:
    """An activation; the layer is called after it."""
    return zoo_layers.Activation(activation, name=f"{name}_{activation}")(x)


def bn_act(x: Tensor, name: str, activation: str = "relu", *, epsilon: float = 1e-3) -> Tensor:
    """Batch norm and activation."""
    return act(batch_norm(x, name, epsilon=epsilon), name, activation)


def conv_bn(
    x: Tensor, filters: int, kernel_size: Size, strides: int, name: str, *, epsilon: float = 1e-3, **options: Any
) -> Tensor:
    """Convolution and batch norm; `options` are those of `conv`."""
    return batch_norm(conv(x, filters, kernel_size, strides, name, **options), name, epsilon=epsilon)


def conv_bn_act(
    x: Tensor,
    filters: int,
    kernel_size: Size,
    strides: int,
    name: str,
    activation: str = "relu",
    *,
    epsilon: float = 1e-3,
    **options: Any,
) -> Tensor:
    """Convolution, batch norm and activation; `options` are those of `conv`."""
    return act(conv_bn(x, filters, kernel_size, strides, name, epsilon=epsilon, **options), name, activation)


def max_pool(x: Tensor, pool_size: int, strides: int, name: str, *, padding: str = "valid") -> Tensor:
    """Max-pooling."""
    return zoo_layers.MaxPooling2D(pool_size, strides, padding=padding, data_format=CHANNELS_LAST, name=name)(x)


def average_pool(x: Tensor, pool_size: int, strides: int, name: str, *, padding: str = "valid") -> Tensor:
    """Average pooling."""
    return layers.AveragePooling2D(pool_size, strides, padding=padding, data_format=CHANNELS_LAST, name=name)(x)


# Heads: from the last feature map (batch, height, width, channels) to the logits (batch, classes).


def classifier(x: Tensor, classes: int, **options: Any) -> Tensor:
    """The last dense layer, which computes in float32; `options` are those of `keras.layers.Dense`."""
    return layers.Dense(classes, dtype="float32", name="classifier", **options)(x)


def pooled_head(x: Tensor, classes: int, *, dropout: float = 0.0, kernel_initializer: str = "glorot_uniform") -> Tensor:
    """Global average pooling, dropout unless it is 0, and a dense layer."""
    x = layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, name="head_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return classifier(x, classes, kernel_initializer=kernel_initializer)


def flatten(x: Tensor) -> Tensor:
    """The feature map flattened to a vector, in the order height, width, channels."""
    return layers.Flatten(data_format=CHANNELS_LAST, name="flatten")(x)


def dense_head(
    x: Tensor,
    classes: int,
    *,
    units: tuple[int, ...],
    dropout: float = 0.0,
    activation: str = "relu",
    kernel_initializer: str = "he_normal",
    name: str = "dense",
) -> Tensor:
    """Hidden dense layers "<name>1", "<name>2", ... with dropout after each, and the classifier."""
    x = flatten(x)
    for number, width in enumerate(units, start=1):
        x = layers.Dense(width, activation=activation, kernel_initializer=kernel_initializer, name=f"{name}{number}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"{name}{number}_dropout")(x)
    return classifier(x, classes)


def conv_classifier(x: Tensor, classes: int) -> Tensor:
    """A 1x1 convolution with one filter per class, which computes in float32."""
    return layers.Conv2D(
        classes, 1, data_format=CHANNELS_LAST, kernel_initializer="he_normal", dtype="float32", name="classifier"
    )(x)


def conv_head(x: Tensor, classes: int, *, dropout: float = 0.0) -> Tensor:
    """Dropout unless it is 0, a 1x1 convolution with one filter per class, and global average pooling."""
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return pool_scores(conv_classifier(x, classes))


def pool_scores(x: Tensor) -> Tensor:
    """Global average pooling of maps of class scores, in float32."""
    return layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, dtype="float32", name="classifier_pool")(x)


# Residual networks with pre-activation.


def preact_trunk(
    branch: Branch,
    units: tuple[int, ...],
    widths: tuple[int, ...] = (64, 128, 256, 512),
    *,
    stem: int = 64,
    stem_bias: bool = True,
    activation: str = "relu",
    gate: Gate | None = None,
) -> Callable[[Tensor], Stages]:
    """The trunk of a residual network with pre-activation (He et al. 2016).

    Args:
        branch: Residual function of a unit, `branch(x, filters, strides, name)`.
        units: Tuple of integers. Number of units in each stage.
        widths: Tuple of integers. Number of filters in each stage.
        stem: Integer. Number of filters of the first convolution.
        stem_bias: Boolean. Whether the first convolution has a bias.
        activation: String. Activation after the stem and the last unit.
        gate: Function that is applied to the output of each branch, `gate(x, index, name)`, or None. `index` counts
            the units from 0.

    Returns: a function from images (batch, height, width, channels) to the stages.
    """

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = conv_bn_act(x, stem, 3, 1, "stem", activation, use_bias=stem_bias)
        index = 0
        for number, (count, filters) in enumerate(zip(units, widths, strict=True), start=1):
            if number > 1:
                x = end_stage(x, stages)
            for unit in range(1, count + 1):
                name = f"stage{number}_unit{unit}"
                strides = 2 if number > 1 and unit == 1 else 1
                y = branch(x, filters, strides, name)
                if gate is not None:
                    y = gate(y, index, name)
                if x.shape[-1] != y.shape[-1]:  # then the shortcut projects the raw input
                    x = conv(x, y.shape[-1], 1, strides, f"{name}_shortcut")
                x = layers.Add(name=f"{name}_add")([x, y])
                index += 1
        end_stage(bn_act(x, "final", activation), stages)
        return stages

    return trunk


def squeeze_excite(x: Tensor, index: int, name: str) -> Tensor:
    """A gate of `preact_trunk`: squeeze-and-excitation without biases."""
    return zoo_layers.SqueezeExcite(16, use_bias=False, name=f"{name}_se")(x)


# SqueezeNet.


def fire(x: Tensor, squeeze: int, expand: int, name: str) -> Tensor:
    """A fire module: a 1x1 convolution with `squeeze` filters, then parallel 1x1 and 3x3 ones with `expand` filters."""
    x = conv_act(x, squeeze, 1, 1, f"{name}_squeeze")
    ends = [conv_act(x, expand, 1, 1, f"{name}_expand1"), conv_act(x, expand, 3, 1, f"{name}_expand3")]
    return layers.Concatenate(name=f"{name}_concat")(ends)


# Inception networks are defined by tables. A stage is a tuple of blocks, a block is a tuple of parallel branches, and a
# branch is a tuple of successive steps. A step is one of
#
#     (3, 64)                         a 3x3 convolution to 64 channels, with batch norm and ReLU
#     ((1, 7), 64)                    the same with a kernel of height 1 and width 7
#     (3, 64, 2)                      the same at stride 2
#     [((1, 3), 64), ((3, 1), 64)]    two parallel convolutions, concatenated
#     "avg", "max", "max/2"           3x3 pooling at stride 1 or 2


def inception_trunk(table: tuple, padding: str = "valid") -> Callable[[Tensor], Stages]:
    """The trunk of an Inception network: a 3x3 stem of 32 channels and the stages of a table.

    Args:
        table: The stages, as above.
        padding: "valid" or "same", for the steps at stride 2.

    Returns: a function from images (batch, height, width, channels) to the stages.
    """

    def trunk(x: Tensor) -> Stages:
        stages: Stages = {}
        x = conv_bn_act(x, 32, 3, 1, "stem")
        for number, blocks in enumerate(table, start=1):
            for unit, block in enumerate(blocks, start=1):
                x = inception_block(x, block, f"stage{number}_unit{unit}", padding)
            x = end_stage(x, stages)
        return stages

    return trunk


def inception_block(x: Tensor, block: tuple, name: str, padding: str = "valid") -> Tensor:
    """A block of a table: its branches, concatenated."""
    ends = []
    for branch, steps in enumerate(block, start=1):
        end = x
        for number, step in enumerate(steps, start=1):
            end = inception_step(end, step, f"{name}_branch{branch}_{number}", padding)
        ends.append(end)
    return layers.Concatenate(name=f"{name}_concat")(ends) if len(ends) > 1 else ends[0]


def inception_step(x: Tensor, step: tuple | list | str, name: str, padding: str) -> Tensor:
    """A step of a branch; at stride 1 the padding is always "same"."""
    if isinstance(step, list):
        ends = [inception_step(x, part, f"{name}{letter}", padding) for part, letter in zip(step, "ab", strict=True)]
        return layers.Concatenate(name=f"{name}_concat")(ends)
    if step == "max/2":
        return max_pool(x, 3, 2, f"{name}_pool", padding=padding)
    if isinstance(step, str):
        pool = average_pool if step == "avg" else max_pool
        return pool(x, 3, 1, f"{name}_pool", padding="same")
    kernel_size, filters, strides = step if len(step) == 3 else (*step, 1)
    return conv_bn_act(x, filters, kernel_size, strides, name, padding=padding if strides > 1 else "same")


def inception_v2_block(a: int, b: int, d: int, e: int, f: int, g: int, pool: str = "avg") -> tuple:
    """The block of Inception-v1 with two 3x3 convolutions instead of a 5x5 one."""
    return ((1, a),), ((1, b), (3, d)), ((1, e), (3, f), (3, f)), (pool, (1, g))
