"""Everything that depends on one backend or one kind of hardware: fast paths, precision, compile cache, memory.

The modules with fast paths import Keras, and with it the backend, only when they are first called.
"""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # tf.Tensor, jax.Array or torch.Tensor
