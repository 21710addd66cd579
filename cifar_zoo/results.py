"""One record for each finished run, and the table of results made of them."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic.dataclasses
from pydantic import ConfigDict, Field, model_validator

from cifar_zoo.checks import validated
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import make_folder, read_history, read_json, write_json
from cifar_zoo.lock import locked
from cifar_zoo.registry import list_models, model_info
from cifar_zoo.training.finished import check_files, read_metrics
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import recipes_for
from cifar_zoo.weights.manifest import PACKAGE, Name, parse_manifest

_Count = Annotated[int, Field(ge=0, description="0 or more")]
_Positive = Annotated[int, Field(gt=0, description="positive")]
_Measure = Annotated[float, Field(ge=0, description="0 or more")]


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class RunRecord:
    """What one finished run measured. Every field is mandatory, and numbers are finite.

    Attributes:
        model: Registered name of the network.
        tag: Name of a group of runs with the same recipe and different seeds.
        seed: Seed of the run.
        recipe: The fields of the recipe.
        precision: "float32" or "mixed_bfloat16".
        backend: Keras backend.
        examples: Number of training images.
        holdout: Number of images held out of the training set.
        epochs: Number of epochs.
        minutes: Duration of the training.
        images_per_second: Throughput, the median over the epochs.
        params: Number of parameters of the network, batch-norm statistics included.
        test_accuracy: Accuracy in 0..1 on the 10,000 test images, measured once, after the last epoch.
        test_loss: Mean cross-entropy on the same images, in nats.
        test_tta_accuracy: Accuracy with test-time augmentation, or None if the recipe does not measure it.
        command: The command that trained the network.
        hardware: The device it was trained on.
        versions: Versions of the packages.
        commit: Commit of cifar_zoo.
        history: One dict an epoch.
    """

    model: Name
    tag: Name
    seed: _Count
    recipe: dict[str, Any]
    precision: str
    backend: str
    examples: _Positive
    holdout: _Count
    epochs: _Positive
    minutes: _Measure
    images_per_second: _Measure
    params: _Positive
    test_accuracy: Annotated[float, Field(ge=0, le=1, description="in [0, 1]")]
    test_loss: _Measure
    test_tta_accuracy: Annotated[float | None, Field(ge=0, le=1, description="in [0, 1] or null")]
    command: str
    hardware: str
    versions: Annotated[dict[str, str], Field(description="texts by package")]
    commit: str
    history: Annotated[list[dict[str, int | float]], Field(description="a list of finite numbers by name")]

    @model_validator(mode="after")
    def _recipe_fits(self) -> Self:
        Recipe(**self.recipe)
        return self


@dataclass(frozen=True)
class TableRow:
    """One row of the table of results: a published row, or a network that is in no table, and the runs of one tag.

    Attributes:
        network: Registered name.
        table: Where the row was published; None for a network without a published row.
        row: Name of the network in that table.
        published: Its accuracy there in percent, or None.
        tag: Tag of the runs; None without runs, and then every field below is None as well.
        runs: Number of runs.
        accuracy: Mean of their test accuracies in percent.
        deviation: Sample standard deviation of the same; None for a single run.
        tta_accuracy: Mean accuracy with test-time augmentation, over the runs that measured it.
        epochs: Number of epochs of a run.
        minutes: Mean duration of a run.
        hardware: The devices of the runs.
        differences: Fields of the recipe that differ from the recipe `paper`, as "field ours (theirs)".
    """

    network: str
    table: str | None
    row: str | None
    published: float | None
    tag: str | None = None
    runs: int = 0
    accuracy: float | None = None
    deviation: float | None = None
    tta_accuracy: float | None = None
    epochs: int | None = None
    minutes: float | None = None
    hardware: str | None = None
    differences: str | None = None

    @property
    def ours(self) -> str:
        """The accuracy in percent: "88.44", "86.62 ± 0.55" for several runs, "87.13 (-0.07)" if it is 0.07 below the
        published accuracy, and empty without a run."""
        if self.accuracy is None:
            return ""
        text = f"{self.accuracy:.2f}" + ("" if self.deviation is None else f" ± {self.deviation:.2f}")
        if self.published is not None and self.accuracy < self.published:
            text += f" ({self.accuracy - self.published:.2f})"
        return text


def results_path() -> Path:
    """The folder of the results that come with the package, or of those in the source checkout."""
    inside = PACKAGE / "bundled_results"
    return inside if inside.exists() else PACKAGE.parent / "results"


def pack(
    run_dir: str | Path, folder: str | Path, tag: str | None = None, *, manifest_file: str | Path | None = None
) -> Path:
    """Write the record of a finished run to `<folder>/<network>/<tag>-<seed>.json`.

    Args:
        run_dir: The run directory.
        folder: The folder of results.
        tag: Name of the group of runs; by default that of the recipe. All runs of a tag have the same recipe
            and the same training images.
        manifest_file: The manifest of the weights that belong to these results, or None. The record of staged weights
            is not replaced by that of another run.

    Returns: the path of the file.

    Raises:
        CifarZooError: If the run is unfinished, is of other images than those of CIFAR-10, was not measured on all
            10,000 test images, or differs from the other runs of its tag in more than the seed; if a file of the run is
            damaged or of another run; or if the folder is in use by another process.
    """
    record = record_of(Path(run_dir), tag)
    file = record_file(record, Path(folder))
    if manifest_file is not None and Path(manifest_file).exists():
        _check_staged(record, Path(manifest_file))
    with lock_results(Path(folder)):
        check_group(record, Path(folder), Path(run_dir))
        make_folder(file.parent)
        write_json(file, asdict(record))
    return file


def _check_staged(record: RunRecord, manifest_file: Path) -> None:
    """Raise CifarZooError if a manifest has the weights of another run under the tag and the seed of a record."""
    entry = parse_manifest(manifest_file).get(record.model, {}).get(record.tag)
    figures = ("recipe", "test_accuracy", "commit", "hardware", "versions")
    if entry and entry.seed == record.seed and any(getattr(entry, name) != getattr(record, name) for name in figures):
        raise CifarZooError(
            f"{manifest_file}: {record.model}.{record.tag} has the weights of another run of seed {record.seed}; "
            "choose another tag, or replace the weights as well, with --weights"
        )


def record_file(record: RunRecord, folder: Path) -> Path:
    """Return the path of a record in a folder of results."""
    return folder / record.model / f"{record.tag}-{record.seed}.json"


def lock_results(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Lock a folder of results, waiting for other processes that are about to add a run."""
    return locked(folder / ".pack.lock", "another process", "wait for it, or stop it", wait=60)


def record_of(run_dir: Path, tag: str | None) -> RunRecord:
    """Return the record of a finished run, whose files are verified by the hashes in its metrics.json.

    Args:
        run_dir: Path of the run directory.
        tag: String. Name of the group of runs, or None for that of the recipe.

    Raises:
        CifarZooError: As `pack`.
    """
    if not (run_dir / "metrics.json").exists():
        raise CifarZooError(f"{run_dir}: no metrics.json; only a finished run can be packed")
    metrics = read_metrics(run_dir)
    check_files(run_dir, metrics)
    check_measured(metrics, run_dir)
    values = {"test_tta_accuracy": None} | read_json(run_dir / "config.json") | metrics
    values["tag"] = values.get("recipe_name") if tag is None else tag
    values["history"] = [
        {name: float(f"{value:.6g}") if name != "epoch" else value for name, value in row.items()}
        for row in read_history(run_dir / "history.csv")
    ]
    known = {field.name for field in fields(RunRecord)}
    record = validated(
        RunRecord, {name: value for name, value in values.items() if name in known}, f"the run in {run_dir}"
    )
    epochs = [row["epoch"] for row in record.history]
    if epochs != list(range(1, record.epochs + 1)) or Recipe(**record.recipe).epochs != record.epochs:
        raise CifarZooError(f"{run_dir}: history.csv, metrics.json and config.json are of different numbers of epochs")
    return record


def check_group(record: RunRecord, folder: Path, run_dir: Path) -> None:
    """Raise CifarZooError if a record differs from the others of its tag in more than the seed."""
    file = record_file(record, folder)
    for other_file, other in read_records(folder, record.model).items():
        if other.tag == record.tag and other_file != file and _training(other) != _training(record):
            raise CifarZooError(
                f"{run_dir}: its recipe or its training images differ from those of {other_file}; choose another tag"
            )


def check_measured(metrics: dict[str, Any], run_dir: Path) -> None:
    """Raise CifarZooError for the metrics of a run on other images, or not measured on all test images."""
    dataset = metrics.get("dataset", "cifar10")  # absent in runs of earlier versions
    others = CifarZooError(
        f"{run_dir}: its images are not the 50,000 and 10,000 of CIFAR-10, and only runs on these are packed; use "
        f"{run_dir / 'model.weights.h5'} by its path"
    )
    if dataset == "other":
        raise others
    if "test_images" not in metrics:
        raise CifarZooError(
            f"{run_dir}: has no test accuracy, as images were held out of its training; train with all images"
        )
    if metrics["test_images"] != 10_000:
        raise CifarZooError(f"{run_dir}: measured on {metrics['test_images']} test images instead of all 10,000")
    if dataset != "cifar10":
        raise others


def _training(result: RunRecord) -> tuple[Recipe, int, int]:
    return Recipe(**result.recipe), result.examples, result.holdout


def read_records(folder: str | Path, model: str = "*") -> dict[Path, RunRecord]:
    """The records in a folder, or those of one network, by path. Raises CifarZooError for any other file."""
    records = {file: read_record(file) for file in sorted(Path(folder).glob(f"{model}/*.json"))}
    for file, record in records.items():
        if file != record_file(record, Path(folder)):
            raise CifarZooError(f"{file}: is the record of {record.model}, {record.tag}, seed {record.seed}")
    return records


def read_record(file: Path) -> RunRecord:
    """The record in a file. Raises CifarZooError if it is not one."""
    return validated(RunRecord, read_json(file), f"{file}: is not the record of a run")


def table(results: Iterable[RunRecord], networks: Iterable[str] | None = None) -> list[TableRow]:
    """A row for each published row and each tag of runs; published rows without runs are included.

    Args:
        results: Records of runs. Only those trained on all 50,000 images count.
        networks: Registered names; by default all of them.
    """
    runs: dict[str, dict[str, list[RunRecord]]] = {}
    for result in results:
        if result.examples == 50_000:
            runs.setdefault(result.model, {}).setdefault(result.tag, []).append(result)
    rows = []
    for name in list_models() if networks is None else networks:
        info = model_info(name)
        measured = [_measured(tag, group) for tag, group in sorted(runs.get(name, {}).items())] or [{}]
        for published in info.rows or (None,):
            facts = (published.table, published.name, published.accuracy) if published else (None, None, None)
            rows += [TableRow(name, *facts, **values) for values in measured]
    return rows


def _measured(tag: str, runs: list[RunRecord]) -> dict[str, Any]:
    accuracies = [100 * run.test_accuracy for run in runs]
    augmented = [100 * run.test_tta_accuracy for run in runs if run.test_tta_accuracy is not None]
    published = recipes_for(runs[0].model).get("paper")
    ours = Recipe(**runs[0].recipe).to_dict()
    theirs = published.to_dict() if published else ours
    return {
        "tag": tag,
        "runs": len(runs),
        "accuracy": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(runs) > 1 else None,
        "tta_accuracy": statistics.mean(augmented) if augmented else None,
        "epochs": runs[0].epochs,
        "minutes": statistics.mean(run.minutes for run in runs),
        "hardware": "; ".join(sorted({run.hardware for run in runs})),
        "differences": ", ".join(
            f"{field} {value} ({theirs[field]})".lower() for field, value in ours.items() if value != theirs[field]
        ),
    }


def as_text(rows: Iterable[TableRow]) -> str:
    """The table for a terminal."""
    text = [f"{'network':25} {'row':27} {'published':>9} {'ours':>21} {'runs':>4} {'epochs':>6} {'minutes':>7}  tag"]
    for row in rows:
        published = f"{row.published:.2f}" if row.published else "-"
        left = f"{row.network:25} {row.row or '-':27} {published:>9} {row.ours or '-':>21} {row.runs:4}"
        text.append(f"{left} {row.epochs:6} {row.minutes:7.1f}  {row.tag}" if row.runs else left)
    return "\n".join(text)
