"""A run on the disk."""

from __future__ import annotations

import csv
import logging
import tempfile
from pathlib import Path
from typing import Any

import keras

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import check_room, read_history, read_json, write_atomically, write_json
from cifar_zoo.training.checkpoint import previous_checkpoint
from cifar_zoo.training.identity import hash_config
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights.files import save_weights

_log = logging.getLogger(__name__)


class RunDirectory:
    """The files of a run.

    Args:
        path: the directory; made where there is none.
        config: what the run is, as plain values.
        resume: whether there may be a run already. Its configuration must be the same.

    Attributes:
        path: the directory.
        identity: hash of config.json, which checkpoints carry.

    Raises:
        CifarZooError: if the directory holds another run, which is left alone.
    """

    def __init__(self, path: Path, config: dict[str, Any], resume: bool) -> None:
        self.path = path
        self._warned = False
        config_file = path / "config.json"
        if not config_file.exists():
            path.mkdir(parents=True, exist_ok=True)
            write_json(config_file, config)
            self.identity = hash_config(config)
            return
        if not resume:
            raise CifarZooError(f"{path} holds a run already; choose another run directory, or resume it")
        earlier = read_json(config_file)
        self.identity = hash_config(earlier)
        if isinstance(recipe := earlier.get("recipe"), dict):  # an older version did not know all fields of today
            earlier["recipe"] = Recipe().to_dict() | recipe
        for key, value in config.items():
            if earlier.get(key) != value:
                was, wanted = _differences(earlier.get(key), value)
                raise CifarZooError(
                    f"{path} holds a run with {key} = {was!r}, not {wanted!r}; choose another run directory"
                )

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint; the previous one lies beside it."""
        return self.path / "checkpoint.npz"

    @property
    def weights(self) -> Path:
        """The final weights."""
        return self.path / "model.weights.h5"

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics; empty for a run that has not ended."""
        file = self.path / "metrics.json"
        return read_json(file) if file.exists() else {}

    def finish(self, model: keras.Model, history: list[dict[str, float]], metrics: dict[str, Any]) -> None:
        """Write what a run ends with.

        Raises:
            CifarZooError: if it cannot be written. The run is unfinished then, and keeps its checkpoints.
        """
        size = 4 * model.count_params() + 4096 * len(model.variables) + 65536
        try:
            for folder in (Path(tempfile.gettempdir()), self.path):
                check_room(folder, size)  # on a full disk, HDF5 ends in a segmentation fault
            self.write_history(history)
            save_weights(model, self.weights)
            write_json(self.path / "metrics.json", metrics)
        except OSError as error:
            raise CifarZooError(
                f"the training is done, but not written ({error}); the same command ends it from the last checkpoint"
            ) from error
        previous_checkpoint(self.checkpoint).unlink(missing_ok=True)

    def warn(self, error: OSError) -> None:
        """Say, once, that something could not be written."""
        if not self._warned:
            _log.warning("%s; the training goes on, and writing is tried again later", error)
        self._warned = True

    def history(self) -> list[dict[str, float]]:
        """One dict an epoch."""
        return read_history(self.path / "history.csv")

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write all epochs anew."""

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)

        if rows:
            write_atomically(self.path / "history.csv", write)


def _differences(one: Any, other: Any) -> tuple[Any, Any]:
    """The same two values; of two dicts, only the fields that differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one, other
    names = [name for name in one | other if one.get(name) != other.get(name)]
    return {name: one.get(name) for name in names}, {name: other.get(name) for name in names}
