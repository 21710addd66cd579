"""Gradients of a layer on every backend."""

import keras
from keras import ops

from cifar_zoo.backend.precision import hardware_precision

# Without instructions for bfloat16, TensorFlow sums the gradients of kernels in bfloat16, and oneDNN does not have it.
WITHOUT_BFLOAT16 = keras.backend.backend() == "tensorflow" and hardware_precision() == "float32"
BFLOAT16_TOLERANCE = 0.06 if WITHOUT_BFLOAT16 else 0.02  # relative to the largest value


def value_and_gradients(layer, inputs, cotangent=1.0):
    """The outputs in training, and the gradients of `sum(outputs * cotangent)`, in float32.

    The gradients are with respect to each of the list of inputs, then each trainable variable.
    """

    def joined(items):
        return items if len(items) > 1 else items[0]

    if not layer.built:
        layer.build(joined([x.shape for x in inputs]))
    training = {"training": True} if "training" in layer.call.__code__.co_varnames else {}
    variables = layer.trainable_variables

    def total(outputs):
        return ops.sum(ops.cast(outputs, "float32") * ops.convert_to_tensor(cotangent))

    tensors = [ops.convert_to_tensor(x) for x in inputs]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = layer(joined(tensors), **training)
            scalar = total(outputs)
        gradients = tape.gradient(scalar, [*tensors, *(variable.value for variable in variables)])
    elif keras.backend.backend() == "jax":
        import jax

        def function(tensors, values):
            rest = [variable.value for variable in layer.non_trainable_variables]
            outputs, _ = layer.stateless_call(values, rest, joined(tensors), **training)
            return total(outputs), outputs

        values = [variable.value for variable in variables]
        (by_input, by_variable), outputs = jax.jit(jax.grad(function, (0, 1), has_aux=True))(tensors, values)
        gradients = [*by_input, *by_variable]
    else:
        tensors = [tensor.detach().requires_grad_() for tensor in tensors]
        outputs = layer(joined(tensors), **training)
        total(outputs).backward()
        gradients = [tensor.grad for tensor in (*tensors, *(variable.value for variable in variables))]
    return [ops.convert_to_numpy(ops.cast(ops.stop_gradient(x), "float32")) for x in (outputs, *gradients)]
