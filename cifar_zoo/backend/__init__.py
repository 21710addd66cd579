"""All that is about one backend or one kind of hardware: fast paths, precision, compile cache, memory, environment.

The modules with the fast paths import Keras, and their backend, at the first call only.
"""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # tf.Tensor, jax.Array or torch.Tensor
