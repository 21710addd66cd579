"""The state that the callbacks of a run share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cifar_zoo.training.clock import Clock
from cifar_zoo.training.run import RunDirectory


@dataclass
class Session:
    """The part of a run that takes place in one process. A run that is resumed consists of several sessions.

    Attributes:
        run: `RunDirectory` of the run.
        clock: `Clock` of this session.
        steps: Integer. Number of steps in an epoch.
        batch_size: Integer. Number of images in a step.
        seed: Integer. Seed of the run.
        history: List of dicts, one per epoch, including those of earlier sessions.
        earlier_seconds: Float. Time that earlier sessions took.
        out_of_time: Boolean. Whether the training was stopped at its time limit.
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
        """Time spent on the run in seconds, including earlier sessions."""
        return self.earlier_seconds + self.clock.seconds
