"""`cifar-zoo evaluate`: measure published weights, a weights file or an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cifar_zoo.checks import integer
from cifar_zoo.cli.backend import load_network
from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json, print_table
from cifar_zoo.errors import CifarZooError


@click.command(short_help="Measure accuracy and calibration.")
@network_argument()
@click.option("--weights", default="cifar10", show_default=True, help="A tag or the path of a .weights.h5 file.")
@click.option(
    "--data",
    help="Path of CIFAR-10: an .npz file, folder or archive; or of a file of CIFAR-10.1 or CIFAR-10.2.  "
    "[default: CIFAR_ZOO_DATA, cache, download]",
)
@click.option("--tta", is_flag=True, help="Also measure with test-time augmentation.")
@click.option(
    "--corruptions",
    is_flag=False,
    flag_value="",
    help="Also measure on the corruptions of CIFAR-10-C: of its published files in a folder, or made here.",
)
@click.option("--unknown", help="Folder with images of no class, to measure how well they are told from the others.")
@click.option("--human", help="Path of cifar10h-probs.npy (CIFAR-10H), to compare with the answers of people.")
@click.option(
    "--held-out",
    type=click.IntRange(min=1),
    help="Number of training images that `fit --holdout` held out, to fit a temperature.",
)
@click.option("--report", help="Folder for report.json, report.html and plots.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    name: str,
    weights: str,
    data: str | None,
    tta: bool,
    corruptions: str | None,
    unknown: str | None,
    human: str | None,
    held_out: int | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Measure the accuracy and loss of the network NAME, or of an exported .onnx file, on the CIFAR-10 test images."""
    load_network(name, weights, data, corruptions or None, unknown, human)
    from cifar_zoo.evaluation.evaluate import evaluate as measure

    figures = measure(
        name,
        data,
        weights=weights,
        tta=tta,
        held_out=None if held_out is None else _held_out(name, weights, data, held_out),
        human=human,
        corruptions=False if corruptions is None else corruptions or True,
        unknown=unknown,
        report=report,
        verbose=1,
    )
    if as_json:
        print_json({"name": name, "weights": weights, **figures})
        return
    _print_figures(name, figures)
    if report is not None:
        click.echo(f"the report is in {report}: report.html")


def _print_figures(name: str, figures: dict[str, Any]) -> None:
    low, high = figures["accuracy_interval"]
    accuracy = (
        f"{figures['accuracy']:.2%} of {figures['images']} test images ({figures['correct']} right, 95 % interval "
        f"{low:.2%} to {high:.2%})"
    )
    quality = f"loss {figures['loss']:.4f}, Brier score {figures['brier']:.4f}, calibration error {figures['ece']:.2%}"
    rows, lines = [(name, accuracy), ("", quality)], [f"{name}: {accuracy}", quality]

    def add(what: str, more: str, text: str) -> None:
        rows.append((what, text))
        lines.append(f"{more}: {text}")

    if "tta_accuracy" in figures:
        text = f"{figures['tta_accuracy']:.2%} ({figures['tta_correct']} right), loss {figures['tta_loss']:.4f}"
        add("test-time augmentation", "with test-time augmentation (flip and shift, six views)", text)
    if part := figures.get("temperature"):
        what = f"temperature {part['temperature']:.3f}"
        more = f"with the {what}, fitted to {part['held_out']} held-out images"
        add(what, more, f"loss {part['loss']:.4f}, calibration error {part['ece']:.2%}")
    if part := figures.get("human"):
        correlation = f"rank correlation of the entropies {part['entropy_correlation']:.3f}"
        add("people (CIFAR-10H)", "people (CIFAR-10H)", f"cross-entropy {part['cross_entropy']:.4f}, {correlation}")
    if part := figures.get("corruptions"):
        mean = f"{part['mean_accuracy']:.2%} on average"
        rows.append(("corrupted images", f"{mean}, {part['set']}"))
        lines.append(f"corrupted images ({part['set']}): {mean}")
    print_table(["", ""], rows, lines)
    if part := figures.get("corruptions"):
        table = [(key, *(f"{value:.2%}" for value in values)) for key, values in part["accuracy"].items()]
        plain = (f"  {key:18}" + "".join(f"{value:>8}" for value in values) for key, *values in table)
        print_table(["severity", *(f">{severity}" for severity in range(1, len(table[0])))], table, plain)
    if part := figures.get("unknown"):
        title = f"{part['images']} unknown images"
        scores = [(key, score) for key, score in part.items() if isinstance(score, dict)]
        table = [(key, f"{score['auroc']:.2%}", f"{score['fpr95']:.2%}") for key, score in scores]
        plain = (f"  {key:12} AUROC {auroc}, FPR at 95 % TPR {fpr}" for key, auroc, fpr in table)
        print_table([title, ">AUROC", ">FPR at 95 % TPR"], table, [f"{title}:", *plain])


def _held_out(name: str, weights: str, data: str | None, count: int) -> Any:
    """Return the last training images, which `fit --holdout` holds out."""
    from cifar_zoo.data.cifar10 import load_cifar10
    from cifar_zoo.evaluation.onnx_model import is_onnx

    if not is_onnx(name) and not Path(weights).suffix:  # a tag
        raise CifarZooError(
            f"the published weights of {name} were trained on all training images, and a temperature that is fitted to "
            "these would be wrong; train with `cifar-zoo fit --holdout`, and give its weights file to --weights"
        )
    (x, y), _ = load_cifar10(data)
    if not 0 < integer("--held-out", count) < len(x):
        raise CifarZooError(f"--held-out must be from 1 to {len(x) - 1}, not {count}")
    return x[-count:], y[-count:]
