"""What a finished run has measured, and the hashes by which its other files are verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from cifar_zoo.checks import validated
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json, sha256_of

FILES = ("config.json", "history.csv", "model.weights.h5")

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

_MEASURED = (
    "test_accuracy",
    "test_tta_accuracy",
    "holdout_accuracy",
    "test_correct",
    "test_images",
    "holdout_correct",
    "holdout_images",
)


class Metrics(BaseModel):
    """The schema of metrics.json. Other fields may hold any JSON values without NaN and infinity.

    Attributes:
        epochs: Integer. Number of epochs.
        minutes: Float. Duration of the training.
        images_per_second: Float. Throughput, the median over the epochs.
        params: Integer. Number of parameters of the network, including the batch-norm statistics.
        command: String. Command that trained the network.
        hardware: String. Hardware of the run.
        versions: Dict. Versions of the packages.
        commit: String. Commit of cifar_zoo.
        test_accuracy, test_tta_accuracy, holdout_accuracy: Floats in [0, 1]. Absent if they were not measured.
        test_correct, test_images, holdout_correct, holdout_images: Integers, the counts behind the accuracies.
        files: Dict. SHA-256 of each of `FILES`. Absent in runs of earlier versions.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    epochs: int = Field(gt=0, description="positive")
    minutes: float = Field(ge=0, description="0 or more")
    images_per_second: float = Field(ge=0, description="0 or more")
    params: int = Field(gt=0, description="positive")
    command: str
    hardware: str
    versions: dict[str, str] = Field(description="texts by package")
    commit: str
    test_accuracy: _Share | None = Field(default=None, description="in [0, 1]")
    test_tta_accuracy: _Share | None = Field(default=None, description="in [0, 1]")
    holdout_accuracy: _Share | None = Field(default=None, description="in [0, 1]")
    test_correct: _Count | None = Field(default=None, description="0 or more")
    test_images: _Count | None = Field(default=None, description="0 or more")
    holdout_correct: _Count | None = Field(default=None, description="0 or more")
    holdout_images: _Count | None = Field(default=None, description="0 or more")
    files: dict[str, _Sha256] | None = Field(default=None, description="hashes of 64 hex digits by file")

    @field_validator(*_MEASURED, "files", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        if value is None:  # what was not measured is absent
            raise ValueError("null")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for which in ("test", "holdout"):
            accuracy, correct, images = (getattr(self, f"{which}_{name}") for name in ("accuracy", "correct", "images"))
            if (accuracy is None) != (images is None) or (accuracy is None) != (correct is None):
                raise ValueError(f"{which}_accuracy, {which}_correct and {which}_images must be given together")
            if accuracy is not None and abs(accuracy * images - correct) > 1e-3:
                raise ValueError(f"{which}_accuracy must be {which}_correct / {which}_images, not {accuracy}")
        if self.files is not None and self.files.keys() != set(FILES):
            raise ValueError(f"files must have {', '.join(FILES)}, not {', '.join(self.files) or 'none'}")
        return self


def read_metrics(run_dir: Path) -> dict[str, Any]:
    """Return the content of the metrics.json of a run. Raises CifarZooError if a field is missing or invalid."""
    file = run_dir / "metrics.json"
    values = read_json(file)
    validated(Metrics, values, str(file))
    return values


def hash_files(run_dir: Path) -> dict[str, str]:
    """Return the SHA-256 of each of `FILES` by name."""
    return {name: sha256_of(run_dir / name) for name in FILES}


def check_files(run_dir: Path, metrics: dict[str, Any]) -> None:
    """Raise CifarZooError if a file of a finished run is missing, damaged or of another run.

    Args:
        run_dir: Path of the run directory.
        metrics: Dict, the content of its metrics.json. Without hashes, as in runs of earlier versions, nothing is
            checked.
    """
    for name, digest in metrics.get("files", {}).items():
        file = run_dir / name
        try:
            problem = "" if sha256_of(file) == digest else "is not the one that the run ended with, by its SHA-256"
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        if problem:
            raise CifarZooError(
                f"{file} {problem}; restore it, or remove metrics.json and run the same "
                "command again, which finishes the run from its last checkpoint"
            )
