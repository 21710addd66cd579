"""Results: what finished runs measured, one JSON file a run, and the table that is made of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_history, read_json, write_json
from cifar_zoo.registry import list_models, model_info
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.training.recipes import recipes_for
from cifar_zoo.weights.manifest import PACKAGE


@dataclass(frozen=True)
class RunRecord:
    """One finished run. Every field is mandatory.

    Attributes:
        model: the network.
        tag: what the runs of one recipe are called together; they differ in their seeds.
        seed: of the run.
        recipe: the fields of the recipe.
        precision, backend: of the run.
        examples, holdout: number of images trained on and kept out.
        epochs, minutes: the length of the run.
        images_per_second: median of the epochs.
        params: of the network, batch-norm statistics included.
        test_accuracy: in 0..1, on the 10,000 test images, measured once, after the last epoch.
        test_loss: mean cross-entropy of the same.
        test_tta_accuracy: the accuracy with test-time augmentation; None where the recipe does not ask for it.
        command, hardware, versions, commit: what trained it, on what, with what.
        history: one dict an epoch.
    """

    model: str
    tag: str
    seed: int
    recipe: dict[str, Any]
    precision: str
    backend: str
    examples: int
    holdout: int
    epochs: int
    minutes: float
    images_per_second: float
    params: int
    test_accuracy: float
    test_loss: float
    test_tta_accuracy: float | None
    command: str
    hardware: str
    versions: dict[str, str]
    commit: str
    history: list[dict[str, float]]


@dataclass(frozen=True)
class TableRow:
    """One line of the table: a row of a published table, or a network without one, and the runs of one tag.

    Attributes:
        network: registered name.
        table, row, published: the published table, its row and its accuracy in percent; None where there is none.
        tag: of the runs; None where there are none, and then all below is None too.
        runs: number of them.
        accuracy, deviation: mean and sample deviation of their test accuracies in percent.
        tta_accuracy: mean of those with test-time augmentation, where there are such.
        epochs, minutes: of a run, the minutes as a mean.
        hardware: what they ran on.
        differences: fields of the recipe that are not as in the recipe `paper`, "field ours (theirs)".
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
        """The accuracy in percent, "88.44", "86.62 ± 0.55" where there are several runs, "87.13 (-0.07)" where it is
        that much below the published one; empty without a run."""
        if self.accuracy is None:
            return ""
        text = f"{self.accuracy:.2f}" + ("" if self.deviation is None else f" ± {self.deviation:.2f}")
        if self.published is not None and self.accuracy < self.published:
            text += f" ({self.accuracy - self.published:.2f})"
        return text


def results_path() -> Path:
    """The results that come with the package, or those of the source checkout."""
    inside = PACKAGE / "bundled_results"
    return inside if inside.exists() else PACKAGE.parent / "results"


def pack(run_dir: str | Path, folder: str | Path, tag: str | None = None) -> Path:
    """Write what a finished run measured to `<folder>/<network>/<tag>-<seed>.json`.

    Args:
        run_dir: the run directory.
        folder: of results.
        tag: default the name of the recipe. All runs of a tag have one recipe and the same images.

    Returns: the file.

    Raises:
        CifarZooError: if the run is unfinished, was measured on a part of the test images, or does not go with the
            other runs of its tag.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "metrics.json").exists():
        raise CifarZooError(f"{run_dir}: no metrics.json; only a finished run can be packed")
    values = read_json(run_dir / "config.json") | read_json(run_dir / "metrics.json")
    check_measured(values, run_dir)
    values.setdefault("test_tta_accuracy", None)
    values["tag"] = tag or values["recipe_name"]
    values["history"] = [
        {name: float(f"{value:.6g}") if name != "epoch" else value for name, value in row.items()}
        for row in read_history(run_dir / "history.csv")
    ]
    result = RunRecord(**{field.name: values[field.name] for field in fields(RunRecord)})
    file = Path(folder) / result.model / f"{result.tag}-{result.seed}.json"
    for other_file, other in read_results(folder, result.model).items():
        if other.tag == result.tag and other_file != file and _setting(other) != _setting(result):
            raise CifarZooError(f"{run_dir}: has another recipe or other images than {other_file}; choose another tag")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, asdict(result))
    return file


def check_measured(metrics: dict[str, Any], run_dir: Path) -> None:
    """Raise CifarZooError for the metrics of a run that was not measured on all test images."""
    if "test_images" not in metrics:
        raise CifarZooError(
            f"{run_dir}: has no test accuracy, as images were held out of its training; train with all images"
        )
    if metrics["test_images"] != 10_000:
        raise CifarZooError(f"{run_dir}: measured on {metrics['test_images']} test images in place of all 10,000")


def _setting(result: RunRecord) -> tuple[Recipe, int, int]:
    return Recipe(**result.recipe), result.examples, result.holdout


def read_results(folder: str | Path, model: str = "*") -> dict[Path, RunRecord]:
    """All results in a folder, or those of one network, by file. Raises CifarZooError for a file that is no result."""
    return {file: read_result(file) for file in sorted(Path(folder).glob(f"{model}/*.json"))}


def read_result(file: Path) -> RunRecord:
    """One result. Raises CifarZooError for a file that is none."""
    values = read_json(file)
    if wrong := values.keys() ^ {field.name for field in fields(RunRecord)}:
        raise CifarZooError(f"{file}: is no result; missing or unknown: {', '.join(sorted(wrong))}")
    return RunRecord(**values)


def table(results: Iterable[RunRecord], networks: Iterable[str] | None = None) -> list[TableRow]:
    """A line for each published row of the networks and each tag; rows without runs have one, too.

    Only runs that trained on all 50,000 images count. `networks` is all of them by default.
    """
    runs: dict[str, dict[str, list[RunRecord]]] = {}
    for result in results:
        if result.examples == 50_000:
            runs.setdefault(result.model, {}).setdefault(result.tag, []).append(result)
    lines = []
    for name in list_models() if networks is None else networks:
        info = model_info(name)
        measured = [_measured(tag, group) for tag, group in sorted(runs.get(name, {}).items())] or [{}]
        for row in info.rows or (None,):
            published = (row.table, row.name, row.accuracy) if row else (None, None, None)
            lines += [TableRow(name, *published, **values) for values in measured]
    return lines


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


def as_text(lines: Iterable[TableRow]) -> str:
    """The table for a terminal."""
    text = [f"{'network':25} {'row':27} {'published':>9} {'ours':>21} {'runs':>4} {'epochs':>6} {'minutes':>7}  tag"]
    for line in lines:
        published = f"{line.published:.2f}" if line.published else "-"
        left = f"{line.network:25} {line.row or '-':27} {published:>9} {line.ours or '-':>21} {line.runs:4}"
        text.append(f"{left} {line.epochs:6} {line.minutes:7.1f}  {line.tag}" if line.runs else left)
    return "\n".join(text)
