"""The directory of a run."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import keras

from cifar_zoo.backend.processes import on_process_0, process_index
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import check_room, read_history, read_json, write_atomically, write_json
from cifar_zoo.training.checkpoint import previous_checkpoint
from cifar_zoo.training.finished import check_files, hash_files, read_metrics
from cifar_zoo.training.identity import hash_config
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights.files import save_weights

_log = logging.getLogger(__name__)


class RunDirectory:
    """The files of a run. Where several processes train, process 0 alone reads and writes them, for all.

    Args:
        path: Path of the directory, which is created if it does not exist.
        config: Dict of plain values, the configuration of the run.
        resume: Boolean. Whether the directory may already contain a run, of the same configuration.

    Attributes:
        path: Path of the directory.
        identity: String. Hash of config.json, by which checkpoints refer to their run.

    Raises:
        CifarZooError: If the directory contains another run, which is not changed.
    """

    def __init__(self, path: Path, config: dict[str, Any], resume: bool) -> None:
        self.path = path
        self._warned = False
        self.identity: str = on_process_0(lambda: _open(path, config, resume))

    @property
    def checkpoint(self) -> Path:
        """Path of the newest checkpoint. The previous one is in the same directory."""
        return self.path / "checkpoint.npz"

    @property
    def weights(self) -> Path:
        """Path of the final weights."""
        return self.path / "model.weights.h5"

    def metrics(self) -> dict[str, Any]:
        """Read the final metrics, and verify the files of a finished run by the hashes in them.

        Returns: A dict, which is empty for an unfinished run.

        Raises:
            CifarZooError: If metrics.json has no valid content, or another file is not the one that the run ended with.
        """

        def read() -> dict[str, Any]:
            if not (self.path / "metrics.json").exists():
                return {}
            metrics = read_metrics(self.path)
            check_files(self.path, metrics)
            return metrics

        found: dict[str, Any] = on_process_0(read)
        return found

    def finish(self, model: keras.Model, history: list[dict[str, float]], metrics: dict[str, Any]) -> dict[str, Any]:
        """Write the final weights, the history and the metrics, and remove the previous checkpoint.

        Args:
            model: The trained `keras.Model`.
            history: List of dicts, one per epoch.
            metrics: Dict of the final metrics.

        Returns: the metrics with the hashes of the other files.

        Raises:
            CifarZooError: If a file cannot be written. The run then remains unfinished and keeps its checkpoints.
        """
        size = 4 * model.count_params() + 4096 * len(model.variables) + 65536

        def write() -> dict[str, Any]:
            check_room(self.path, size)  # before anything is written, so that a full disk leaves no half of a result
            self.write_history(history)
            save_weights(model, self.weights)
            complete = {**metrics, "files": hash_files(self.path)}
            write_json(self.path / "metrics.json", complete)
            return complete

        try:
            complete: dict[str, Any] = on_process_0(write)
        except OSError as error:
            raise CifarZooError(
                f"training is complete, but its results cannot be written ({error}); run the same command again "
                "to finish it from the last checkpoint"
            ) from error
        if process_index() == 0:
            previous_checkpoint(self.checkpoint).unlink(missing_ok=True)
        return complete

    def warn(self, error: OSError) -> None:
        """Log a warning that a file could not be written, once per run."""
        if not self._warned and process_index() == 0:
            _log.warning("%s; training continues, and writing will be tried again later", error)
        self._warned = True

    def history(self) -> list[dict[str, float]]:
        """Read the history from history.csv, one dict per epoch."""
        rows: list[dict[str, float]] = on_process_0(lambda: read_history(self.path / "history.csv"))
        return rows

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Write history.csv.

        Args:
            rows: List of dicts, one per epoch.
        """

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)

        if rows and process_index() == 0:
            write_atomically(self.path / "history.csv", write)


def _open(path: Path, config: dict[str, Any], resume: bool) -> str:
    """Write config.json, or compare it with the configuration, and return its hash."""
    config_file = path / "config.json"
    if not config_file.exists():
        path.mkdir(parents=True, exist_ok=True)
        write_json(config_file, config)
        return hash_config(config)
    if not resume:
        raise CifarZooError(f"{path} holds a run already; choose another run directory, or resume it")
    earlier = read_json(config_file)
    identity = hash_config(earlier)
    if isinstance(recipe := earlier.get("recipe"), dict):  # written by an older version with fewer fields
        earlier["recipe"] = Recipe().to_dict() | recipe
    for key, value in config.items():
        if earlier.get(key) != value:
            was, wanted = _differences(earlier.get(key), value)
            raise CifarZooError(
                f"{path} holds a run with {key} = {was!r}, not {wanted!r}; choose another run directory"
            )
    return identity


def _differences(one: Any, other: Any) -> tuple[Any, Any]:
    """Return the two values, reduced to the fields that differ if both are dicts."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one, other
    names = [name for name in one | other if one.get(name) != other.get(name)]
    return {name: one.get(name) for name in names}, {name: other.get(name) for name in names}
