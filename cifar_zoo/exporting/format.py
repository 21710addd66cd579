"""What there is to know about a format that networks are exported to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Outputs = dict[str, np.ndarray]
Metadata = dict[str, str]


@dataclass(frozen=True)
class Format:
    """A format that networks are exported to.

    Attributes:
        title: Its name in messages.
        suffix: How the name of a file ends; "" for a folder.
        backends: The backends of Keras that can write it, the first choice first, each with the packages that only it
            needs.
        packages: The packages that writing and running need, each with the extra of cifar-zoo that installs it.
        write: Function that writes a model, which takes "pixels" and gives a dict of named outputs, to a path.
        load: Function that opens a written file in its own runtime and returns a function from pixels to outputs.
    """

    title: str
    suffix: str
    backends: dict[str, dict[str, str]]
    packages: dict[str, str]
    write: Callable[[Any, Path, Metadata], None]
    load: Callable[[Path], Callable[[np.ndarray], Outputs]]
