"""The report of an evaluation: JSON for programs, HTML and plots for people."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.checks import finite_or_none
from cifar_zoo.data.cifar10 import CLASSES
from cifar_zoo.errors import CifarZooError
from cifar_zoo.evaluation import metrics
from cifar_zoo.files import make_folder, named_path, write_atomically, write_json

MISTAKES = 25
_PERCENT = ("accuracy", "tta_accuracy", "ece", "adaptive_ece", "mean_accuracy", "mce")
_NAMES = {
    "accuracy": "accuracy",
    "accuracy_interval": "95 % interval of the accuracy (Wilson)",
    "tta_accuracy": "accuracy with test-time augmentation",
    "tta_loss": "NLL with test-time augmentation",
    "loss": "NLL (cross-entropy), nats",
    "brier": "Brier score (0 to 2)",
    "ece": "expected calibration error, 15 bins",
    "adaptive_ece": "the same, bins of equal numbers",
    "aurc": "area under the risk-coverage curve",
    "correct": "correct images",
    "tta_correct": "correct images with test-time augmentation",
    "images": "images",
    "temperature": "temperature",
    "held_out": "held-out images to which it was fitted",
    "cross_entropy": "cross-entropy with the answers of people, nats",
    "entropy_correlation": "rank correlation of the entropies",
    "set": "images from",
    "mean_accuracy": "mean accuracy",
    "mce": "mean corruption error",
    "auroc": "AUROC",
    "aupr_in": "AUPR, known",
    "aupr_out": "AUPR, unknown",
    "fpr95": "FPR at 95 % TPR",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a202c; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .3rem .8rem; border-bottom: 1px solid #e2e8f0 }
th { text-align: left; font-weight: 600 } td { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto } .scroll { overflow-x: auto }
"""


def check_report(folder: str | Path, class_names: Sequence[str] | None = None) -> None:
    """Check before a long evaluation that a report can be written, and make its folder.

    Raises:
        CifarZooError: If matplotlib is missing, the folder cannot be made, or the names of the classes are no strings.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise CifarZooError("the plots of a report need the package matplotlib: pip install 'cifar-zoo[report]'")
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names or ()):
        raise CifarZooError(f"class_names must be a list of strings, not {class_names!r:.100}")
    path = named_path(folder)
    try:
        make_folder(path)
    except OSError as error:
        raise CifarZooError(f"{path}: the folder of the report cannot be made ({error.strerror})") from error


def write_report(
    folder: str | Path,
    name: str,
    figures: dict[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write report.json, report.html, which holds its plots, and the plots as PNG files.

    Args:
        folder: Path of the folder. Earlier files of a report are replaced.
        name: String. Name of the network.
        figures: Dict. What `evaluate` returns.
        images: uint8 (n, rows, columns, channels). The most confident mistakes are shown.
        labels: Integers (n,).
        logits: Array (n, classes).
        class_names: The names of the classes, by default those of CIFAR-10, or else numbers.

    Raises:
        CifarZooError: If the number of names is not that of the classes.
    """
    from cifar_zoo.evaluation import plots

    path, classes = named_path(folder), logits.shape[-1]
    if class_names is None:
        class_names = CLASSES if classes == len(CLASSES) else [str(number) for number in range(classes)]
    if len(class_names) != classes:
        raise CifarZooError(f"class_names has {len(class_names)} names, and the network {classes} classes")
    chosen = metrics.confident_mistakes(logits, labels, MISTAKES)
    report = {"network": name, **figures, **_details(logits, labels, chosen, class_names)}
    drawn = {
        "reliability": plots.reliability_diagram(logits, labels),
        "confusion": plots.confusion(logits, labels, class_names),
        "risk_coverage": plots.risk_and_coverage(logits, labels),
        "mistakes": plots.mistakes(images, labels, logits, chosen, class_names),
    }
    if "corruptions" in figures:
        drawn["corruptions"] = plots.corruption_bars(figures["corruptions"]["accuracy"], figures["accuracy"])
    for plot, content in drawn.items():
        _write(path / f"{plot}.png", content)
    _write(path / "report.html", _page(report, drawn).encode())
    write_json(path / "report.json", finite_or_none(report))


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write_bytes(content))


def _details(logits: np.ndarray, labels: np.ndarray, chosen: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """The figures of a report that are too many for the result of `evaluate`."""
    counts = metrics.confusion_matrix(logits, labels)
    total = np.bincount(labels, minlength=len(counts))
    right = np.bincount(labels[metrics.correct(logits, labels)], minlength=len(counts))
    coverage, risk = metrics.risk_coverage(logits, labels)
    some = np.unique(np.ceil(np.arange(5, 101, 5) / 100 * len(labels)).astype(int)) - 1
    scores = metrics.softmax(logits[chosen])
    return {
        "classes": [
            {"class": name, "images": int(n), "accuracy": float(k / n) if n else None}
            for name, n, k in zip(class_names, total, right, strict=True)
        ],
        "confusion_matrix": counts.tolist(),
        "reliability": {
            kind: {key: values.tolist() for key, values in bins._asdict().items()}
            for kind, bins in (
                ("equal_width", metrics.reliability(logits, labels)),
                ("equal_count", metrics.reliability(logits, labels, adaptive=True)),
            )
        },
        "risk_coverage": [{"coverage": float(coverage[i]), "risk": float(risk[i])} for i in some],
        "mistakes": [
            {
                "index": int(index),
                "label": class_names[labels[index]],
                "predicted": class_names[int(row.argmax())],
                "probability": float(row.max()),
            }
            for index, row in zip(chosen, scores, strict=True)
        ],
    }


def _page(report: dict[str, Any], drawn: dict[str, bytes]) -> str:
    """The report as one HTML file."""
    plain = {key: report[key] for key in report if key in _NAMES and not isinstance(report[key], dict)}
    parts = [
        f"<h1>{escape(report['network'])}</h1>",
        _pairs(plain),
        "<h2>Classes</h2>",
        _table(
            ("class", "images", "accuracy"),
            ((row["class"], row["images"], _shown("accuracy", row["accuracy"])) for row in report["classes"]),
        ),
        _image(drawn, "confusion", "Confusion matrix: labels in rows, predictions in columns"),
        "<h2>Calibration</h2>",
        _image(drawn, "reliability", "Reliability diagram: accuracy against confidence"),
    ]
    if "temperature" in report:
        parts += ["<h3>After temperature scaling</h3>", _pairs(report["temperature"])]
    parts += ["<h2>Selective prediction</h2>", _image(drawn, "risk_coverage", "Error rate against coverage")]
    if "human" in report:
        parts += ["<h2>People (CIFAR-10H)</h2>", _pairs(report["human"])]
    if found := report.get("corruptions"):
        rows = ((name, *(_shown("accuracy", value) for value in values)) for name, values in found["accuracy"].items())
        parts += [
            "<h2>Corrupted images</h2>",
            _pairs({key: value for key, value in found.items() if key != "accuracy"}),
            _image(drawn, "corruptions", "Accuracy under each corruption"),
            _table(("corruption", *(f"severity {number}" for number in range(1, 6))), rows),
        ]
    if found := report.get("unknown"):
        scores = {key: value for key, value in found.items() if isinstance(value, dict)}
        columns = ("auroc", "aupr_in", "aupr_out", "fpr95")
        rows = ((name, *(_shown(key, value[key]) for key in columns)) for name, value in scores.items())
        parts += [
            f"<h2>Unknown images</h2><p>{found['images']:,} images that show none of the classes.</p>",
            _table(("score", *(_NAMES[key] for key in columns)), rows),
        ]
    parts += ["<h2>The most confident mistakes</h2>", _image(drawn, "mistakes", "Wrongly classified images")]
    title, body = f"{escape(report['network'])}: evaluation", "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(f"{bound:.2%}" for bound in value)
    if isinstance(value, float):
        return f"{value:.2%}" if key in _PERCENT else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _pairs(figures: dict[str, Any]) -> str:
    rows = ((_NAMES[key], _shown(key, value)) for key, value in figures.items())
    return _table((), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(str(first))}</th>{"".join(f"<td>{escape(str(cell))}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if header else ""}{body}</table></div>'


def _image(drawn: dict[str, bytes], plot: str, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(drawn[plot]).decode()}">'
