"""What the callbacks of a run share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cifar_zoo.training.clock import Clock
from cifar_zoo.training.run import RunDirectory


@dataclass
class Session:
    """A process's part of a run: the data that its callbacks share.

    Attributes:
        run: the run directory.
        clock: of this process.
        steps: steps an epoch.
        batch_size: images a step.
        seed: of the run.
        history: one dict an epoch, those of earlier sessions included.
        earlier_seconds: time that earlier sessions took.
        out_of_time: whether the deadline ended the training.
    """

    run: RunDirectory
    clock: Clock
    steps: int
    batch_size: int
    seed: int
    history: list[dict[str, Any]] = field(default_factory=list)
    earlier_seconds: float = 0.0
    out_of_time: bool = False

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier sessions included."""
        return self.earlier_seconds + self.clock.seconds
