"""Write the tables and plots of README.md, docs/ and results/, and the cards in weights/, from the registry, the
results, the manifest and the docstrings.

python docs/generate.py
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import json
import re
import statistics
from dataclasses import asdict, fields
from functools import cache
from itertools import pairwise
from pathlib import Path

import cifar_zoo
from cifar_zoo.evaluation.costs import layer_table
from cifar_zoo.files import write_atomically
from cifar_zoo.publishing.card import benchmark_figures, card
from cifar_zoo.registry import ModelInfo
from cifar_zoo.results import RunRecord, TableRow, read_records, table
from cifar_zoo.training.recipes import find_recipe
from cifar_zoo.weights.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent
PLOTS = ROOT / "docs" / "plots"


@cache
def results() -> list[RunRecord]:
    """All run records of the repository that trained on the whole training set."""
    return [result for result in read_records(ROOT / "results").values() if result.examples == 50_000]


@cache
def lines() -> list[TableRow]:
    """The rows of the table of results."""
    return table(results())


@cache
def measured(benchmark: str) -> dict[str, dict]:
    """What a benchmark measured with the published weights, by network: results/inference.json or evaluation.json."""
    return {row["network"]: row for row in json.loads((ROOT / "results" / f"{benchmark}.json").read_text())["networks"]}


def best() -> str:
    """The table of README.md: the twelve networks with the best published weights."""
    rows = [
        "| network | parameters | accuracy, % | published, % | file | one image, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    entries = {name: max(tags.values(), key=lambda entry: entry.best) for name, tags in read_manifest().items()}
    for name in sorted(entries, key=lambda name: -entries[name].test_accuracy)[:12]:
        info, entry = cifar_zoo.model_info(name), entries[name]
        rows.append(
            f"| {name} | {info.params:,} | {100 * entry.test_accuracy:.2f} | {_published(info)} "
            f"| {entry.bytes / 1e6:.1f} MB | {_latency(name)} |"
        )
    return "\n".join(rows)


def costs() -> str:
    """The table of docs/models.md: what each network reaches and costs, its paper and its published row."""
    rows = [
        "| network | ours, % | published row | parameters | trainable | multiply-adds | activations | NLL | ECE, % "
        "| one image, ms | file, MB | input | paper |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for info in _infos():
        costs = layer_table(info.name)
        multiply_adds = f"{sum(row.multiply_adds for row in costs) / 1e6:,.1f} M"
        megabytes = f"{4 * sum(row.activations for row in costs) / 1e6:,.1f} MB"
        paper = re.sub(r"arXiv:(\d+\.\d+)", r"[\1](https://arxiv.org/abs/\1)", info.paper)
        published = "; ".join(f"{f'{row.accuracy:.2f} ' if row.accuracy else ''}{row.name}" for row in info.rows)
        found = measured("evaluation").get(info.name)
        calibration = f"{found['loss']:.3f} | {100 * found['ece']:.2f}" if found else " | "
        size = "; ".join(
            f"{entry.bytes / 1e6:.1f}" for entry in read_manifest().get(info.name, {}).values() if entry.best
        )
        height, width, _ = info.input_shape
        rows.append(
            f"| {info.name} | {_ours(info)} | {published} | {info.params:,} | {info.trainable:,} | {multiply_adds} "
            f"| {megabytes} | {calibration} | {_latency(info.name)} | {size} | {height}x{width} | {paper} |"
        )
    return "\n".join(rows)


def _latency(name: str) -> str:
    """The median latency of one image with ONNX Runtime, in milliseconds, or "" if it was not measured."""
    found = measured("inference").get(name)
    return f"{found['latency_ms']['onnx'][0]:.2f}" if found else ""


def layers() -> str:
    """The table of docs/layers.md: the summary line of every layer."""
    rows = ["| layer | |", "| --- | --- |"]
    for name in cifar_zoo.layers.__all__:
        summary = inspect.getdoc(getattr(cifar_zoo.layers, name)).split("\n\n")[0]
        rows.append(f"| `{name}` | {' '.join(summary.split())} |")
    return "\n".join(rows)


def rows() -> str:
    """The table of docs/results.md: each published row and the accuracy of our runs."""
    text = [
        "| row | network | published % | ours % | with TTA % | runs | tag | epochs | minutes | hardware |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for line in lines():
        row = f"[{line.row}]({line.table})" if str(line.table).startswith("http") else line.row or "(none)"
        start = f"| {row} | {line.network} | {_percent(line.published)} |"
        accuracies = f"{line.ours} | {_percent(line.tta_accuracy)}"
        run = f"{accuracies} | {line.runs} | {line.tag} | {line.epochs} | {line.minutes or 0:.1f} | {line.hardware} |"
        text.append(f"{start} {run if line.runs else 'no run yet | | | | | | |'}")
    return "\n".join(text)


def differences() -> str:
    """The table of docs/results.md: the fields in which our recipes differ from the published ones."""
    text = ["| network | tag | ours (published) |", "| --- | --- | --- |"]
    done = {line.network: line for line in lines() if line.runs}
    text += [f"| {name} | {line.tag} | {line.differences} |" for name, line in done.items()]
    return "\n".join(text)


def speed() -> str:
    """The table of docs/performance.md: throughput of our training step and of plain PyTorch."""
    text = [
        "| network | backend | batch | ours, images/s | PyTorch | ratio | by CPU time | fit, ms a step | hardware |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for file in sorted((ROOT / "results").glob("train_step-*.json")):
        found = json.loads(file.read_text())
        ours, torch = (found["images_per_second"][side] for side in ("ours", "torch"))
        text.append(
            f"| {found['network']} | {found['backend']} | {found['batch']} | {ours:.0f} | {torch:.0f} "
            f"| {found['ratio_wall']:.2f} | {found['ratio_cpu']:.2f} | {found['fit']['overhead_ms']:.1f} "
            f"| {found['hardware']} |"
        )
    return "\n".join(text)


def every_step() -> str:
    """The table of docs/performance.md: the training step of every network, of ours and of plain PyTorch."""
    text = [
        "| network | ours, images/s | PyTorch | ratio | share of peak | memory, MB | PyTorch | most of the time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    reports = json.loads((ROOT / "results" / "train_steps.json").read_text())
    peak = max(found["peak_multiply_adds_per_second"] for found in reports)
    for found in sorted(reports, key=lambda found: found["network"]):
        ours, torch = (found["images_per_second"][side] for side in ("ours", "torch"))
        precision = "" if found["precision"]["torch"] == "bfloat16" else f" ({found['precision']['torch']})"
        memory = " | ".join(f"{found['memory_bytes'][side] / 1e6:,.0f}" for side in ("ours", "torch"))
        total = sum(found["profile_ms"].values())
        kinds = ", ".join(f"{kind} {ms / total:.0%}" for kind, ms in list(found["profile_ms"].items())[:3])
        text.append(
            f"| {found['network']} | {ours:,.0f} | {torch:,.0f}{precision} | {found['ratio_wall']:.2f} "
            f"| {found['multiply_adds_per_image'] * ours / peak:.0%} | {memory} | {kinds} |"
        )
    mean = statistics.geometric_mean(found["ratio_wall"] for found in reports)
    text.append(f"| geometric mean | | | {mean:.2f} | | | | |")
    return "\n".join(text)


def startup() -> str:
    """The table of docs/performance.md: the seconds until a command answers, by part."""
    found = json.loads((ROOT / "results" / "startup.json").read_text())
    parts = ("import", "data", "build", "predict", "step", "total")
    text = [f"| network | command | {' | '.join(parts)} |", f"| --- | --- |{' ---: |' * len(parts)}"]
    for row in found["rows"]:
        cells = (f"{row['seconds'][part]:.1f}" if part in row["seconds"] else "" for part in parts)
        text.append(f"| {row['network']} | {row['command']} | {' | '.join(cells)} |")
    return "\n".join(text)


def finetuning() -> str:
    """The table of docs/finetuning.md: how accurate fine-tuned networks are on images of other kinds."""
    images = {
        "digits": "scikit-learn's 1,797 digits (`flip=False`)",
        "faces": "scikit-image's 100 faces and 100 other images (`lfw_subset`)",
        "crops": "354 crops of four photographs of scikit-image, which do not overlap",
    }
    found = json.loads((ROOT / "results" / "finetuning.json").read_text())["runs"]
    text = ["| images | kept out | accuracy on these, % | seconds |", "| --- | ---: | --- | --- |"]
    for name, description in images.items():
        runs = [run for run in found if run["set"] == name]
        accuracies = ", ".join(f"{100 * run['test_accuracy']:.2f}" for run in runs)
        seconds = [run["seconds"] for run in runs]
        text.append(f"| {description} | {runs[0]['test']} | {accuracies} | {min(seconds):.0f} to {max(seconds):.0f} |")
    return "\n".join(text)


def inference() -> str:
    """The table of docs/export.md: how fast the published networks answer, and what int8 costs."""
    text = [
        "| network | predict, ms | PyTorch | ONNX | int8 | LiteRT | PyTorch, images/s | ONNX | int8 | ONNX, MB | int8 "
        "| accuracy, % | int8 |",
        f"| --- |{' ---: |' * 12}",
    ]
    for found in measured("inference").values():
        latency = {way: median for way, (median, _) in found["latency_ms"].items()}
        throughput, size = found["images_per_second"], found["bytes"]
        in_torch = [way for way in latency if way.startswith("torch")]
        figures = [
            f"{latency['predict']:.1f}",
            f"{min(latency[way] for way in in_torch):.2f}",
            *(f"{latency[way]:.2f}" for way in ("onnx", "onnx int8", "litert")),
            f"{max(throughput[way] for way in in_torch):,.0f}",
            *(f"{throughput[way]:,.0f}" for way in ("onnx", "onnx int8")),
            *(f"{size[way] / 1e6:.1f}" for way in ("onnx", "onnx int8")),
            *(f"{100 * found[key]:.2f}" for key in ("accuracy", "int8_accuracy")),
        ]
        text.append(f"| {found['network']} | {' | '.join(figures)} |")
    return "\n".join(text)


def evaluation() -> str:
    """The table of docs/evaluation.md: calibration, corrupted and unknown images."""
    scores = ("max_softmax", "energy", "knn")
    text = [
        "| network | accuracy, % | 95 % interval | NLL | Brier | ECE, % | adaptive | corrupted, % | people, NLL "
        "| digits: softmax | energy | k-NN | noise: softmax | energy | k-NN |",
        f"| --- |{' ---: |' * 14}",
    ]
    for found in measured("evaluation").values():
        low, high = found["accuracy_interval"]
        figures = [
            f"{100 * found['accuracy']:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            f"{found['loss']:.3f}",
            f"{found['brier']:.3f}",
            *(f"{100 * found[key]:.2f}" for key in ("ece", "adaptive_ece")),
            f"{100 * found['corruptions']['mean_accuracy']:.2f}",
            f"{found['human']['cross_entropy']:.3f}" if "human" in found else "-",
            *(
                f"{100 * found['unknown'][kind][score]['auroc']:.1f}"
                for kind in ("digits", "noise")
                for score in scores
            ),
        ]
        text.append(f"| {found['network']} | {' | '.join(figures)} |")
    return "\n".join(text)


def corruptions() -> str:
    """The table of docs/evaluation.md: the accuracy under each corruption, averaged over the severities."""
    accuracies = {network: found["corruptions"]["accuracy"] for network, found in measured("evaluation").items()}
    names = list(next(iter(accuracies.values())))
    text = [f"| network | {' | '.join(name.replace('_', ' ') for name in names)} |", f"| --- |{' ---: |' * len(names)}"]
    for network, accuracy in accuracies.items():
        means = [f"{100 * statistics.mean(accuracy[name]):.1f}" for name in names]
        text.append(f"| {network} | {' | '.join(means)} |")
    return "\n".join(text)


def cards() -> dict[str, str]:
    """The model cards in weights/, by their paths."""
    made = {}
    for name, tags in read_manifest().items():
        for tag, entry in tags.items():
            folder = f"weights/{name}/{tag}"
            tta_accuracy = json.loads((ROOT / folder / "metrics.json").read_text()).get("test_tta_accuracy")
            figures = (
                benchmark_figures(ROOT / "results" / file, entry) for file in ("inference.json", "evaluation.json")
            )
            made[f"{folder}/README.md"] = card(name, tag, entry, tta_accuracy, *figures)
    return made


def to_94() -> str:
    """The table of docs/fast.md: accuracy and minutes of the recipe `fast` and of plain PyTorch."""
    text = [
        "| | plain % | with TTA % | training, min | total, min | steps/s | training time / PyTorch's | runs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    runs = json.loads((ROOT / "results" / "to_94.json").read_text())["runs"]
    for name, own in runs.items():
        mean = {field: statistics.mean(run[field] for run in own) for field in own[0]}
        of_torch = mean["training_seconds"] / statistics.mean(run["training_seconds"] for run in runs["plain PyTorch"])
        accuracies = " | ".join(
            _with_deviation([100 * run[field] for run in own]) for field in ("accuracy", "tta_accuracy")
        )
        text.append(
            f"| {name} | {accuracies} | {mean['training_seconds'] / 60:.2f} | {mean['seconds'] / 60:.2f} "
            f"| {mean['steps_per_second']:.3f} | {of_torch:.2f} | {len(own)} |"
        )
    return "\n".join(text)


def to_94_backends() -> str:
    """The table of docs/fast.md: throughput of the training step with each backend and with plain PyTorch."""
    runs = json.loads((ROOT / "results" / "to_94_backends.json").read_text())["runs"]
    text = ["| | steps/s | time / PyTorch's |", "| --- | ---: | ---: |"]
    throughput = {name: statistics.mean(run["steps_per_second"] for run in own) for name, own in runs.items()}
    torch = throughput["plain PyTorch"]
    text += [f"| {name} | {steps:.3f} | {torch / steps:.2f} |" for name, steps in throughput.items()]
    return "\n".join(text)


def ablation() -> str:
    """The table of docs/fast.md: accuracy without each trick."""
    report = json.loads((ROOT / "results" / "fast_ablation.json").read_text())
    runs: dict[str, dict[int, list[float]]] = {}
    for run in report["runs"]:
        runs.setdefault(run["without"], {}).setdefault(run["epochs"], []).append(100 * run["accuracy"])
    lengths = sorted({epochs for by_epochs in runs.values() for epochs in by_epochs})
    text = [
        f"| without | {' | '.join(f'{epochs} epochs, %' for epochs in lengths)} | epochs to 93 % |",
        f"| --- | {'---: | ' * len(lengths)}---: |",
    ]
    for variant, by_epochs in runs.items():
        means = {epochs: statistics.mean(by_epochs[epochs]) for epochs in sorted(by_epochs)}
        figures = " | ".join(f"{means[epochs]:.2f}" if epochs in means else "" for epochs in lengths)
        text.append(f"| {variant} | {figures} | {_crossing(means, 93.0)} |")
    return "\n".join(text)


def recipe_search() -> str:
    """The table of docs/results.md: accuracy of candidate recipes on held-out images."""
    text = ["| network | epochs | fields changed from `zoo` | held-out images, % |", "| --- | ---: | --- | ---: |"]
    runs = json.loads((ROOT / "results" / "recipe_search.json").read_text())["runs"]
    for run in sorted(runs, key=lambda run: run["network"]):
        epochs = run["recipe"]["epochs"]
        zoo = find_recipe("zoo", run["network"]).for_epochs(epochs).to_dict()
        changed = ", ".join(f"{field} {value}" for field, value in run["recipe"].items() if value != zoo[field])
        text.append(f"| {run['network']} | {epochs} | {changed} | {100 * run['accuracy']:.2f} |")
    return "\n".join(text)


def _crossing(means: dict[int, float], level: float) -> str:
    """The number of epochs at which the line between two successive runs crosses `level`."""
    for (before, low), (after, high) in pairwise(means.items()):
        if low <= level <= high:
            return f"{before + (level - low) / (high - low) * (after - before):.1f}"
    shortest, longest = min(means), max(means)
    return f"below {shortest}" if means[shortest] > level else f"above {longest}"


def _with_deviation(values: list[float]) -> str:
    """The mean, with the sample standard deviation if there are several values."""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def results_csv() -> str:
    """The table of results as CSV, for results/results.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(TableRow)], lineterminator="\n")
    writer.writeheader()
    for line in lines():
        values = {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in asdict(line).items()}
        writer.writerow(values)
    return text.getvalue()


def plotted() -> str:
    """SHA-256 of the data in the plots, stored in the description of each plot."""
    shown = [[asdict(line) for line in lines()], [[r.model, r.tag, r.seed, r.history] for r in results()]]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def plots() -> None:
    """Draw the plots of docs/results.md."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "cifar_zoo", "svg.fonttype": "none"})
    matplotlib.rcParams.update({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3})
    params = {info.name: info.params for info in _infos()}
    measured = [line for line in lines() if line.runs]

    def save(name: str) -> None:
        metadata = {"Date": None, "Creator": None, "Description": plotted()}
        pyplot.savefig(PLOTS / f"{name}.svg", bbox_inches="tight", metadata=metadata)
        pyplot.close()

    def scatter(name: str, axis: str, ends: tuple[float, float], place, published: bool) -> None:
        _, axes = pyplot.subplots(figsize=(8, 4.5))
        if published:
            published_lines = [line for line in lines() if line.published]
            axes.scatter(
                [place(line) for line in published_lines],
                [line.published for line in published_lines],
                12,
                "silver",
                label="published",
            )
        axes.errorbar(
            [place(line) for line in measured],
            [line.accuracy for line in measured],
            [line.deviation or 0 for line in measured],
            fmt="o",
            label="ours",
        )
        for line in measured:
            axes.annotate(f" {line.network}", (place(line), line.accuracy))
        axes.set(xscale="log", xlim=ends, xlabel=axis, ylabel="test accuracy, %")
        axes.legend()
        save(name)

    scatter("accuracy_parameters", "parameters", (1e5, 1e8), lambda line: params[line.network], published=True)
    scatter("accuracy_minutes", "minutes of training", (1, 1000), lambda line: line.minutes, published=False)
    _, (losses, accuracies) = pyplot.subplots(1, 2, figsize=(8, 3.5))
    for result in results():
        epochs = [row["epoch"] for row in result.history]
        losses.plot(epochs, [row["loss"] for row in result.history], label=f"{result.model} {result.tag}-{result.seed}")
        accuracies.plot(epochs, [100 * row["accuracy"] for row in result.history])
    losses.set(xlabel="epoch", ylabel="training loss")
    accuracies.set(xlabel="epoch", ylabel="training accuracy, %")
    losses.legend()
    save("learning_curves")


def _infos() -> list[ModelInfo]:
    return [cifar_zoo.model_info(name) for name in cifar_zoo.list_models()]


def _percent(value: float | None) -> str:
    return f"{value:.2f}" if value else ""


def _published(info: ModelInfo) -> str:
    return "; ".join(_percent(row.accuracy) for row in info.rows if row.accuracy)


def _ours(info: ModelInfo) -> str:
    """The accuracy of our runs with the recipe `zoo`, or with the first tag if there is none."""
    mine = sorted((line for line in lines() if line.network == info.name), key=lambda line: line.tag != "zoo")
    return mine[0].ours


TABLES = {
    "README.md": {"best": best},
    "docs/models.md": {"costs": costs},
    "docs/layers.md": {"layers": layers},
    "docs/performance.md": {"speed": speed, "every step": every_step, "start-up": startup},
    "docs/finetuning.md": {"finetuning": finetuning},
    "docs/export.md": {"inference": inference},
    "docs/evaluation.md": {"evaluation": evaluation, "corruptions": corruptions},
    "docs/fast.md": {"to_94": to_94, "to_94_backends": to_94_backends, "ablation": ablation},
    "docs/results.md": {"rows": rows, "differences": differences, "recipe_search": recipe_search},
}


def filled(page: str) -> str:
    """The text of a page with its tables regenerated, each between `<!-- name -->` and `<!-- end of name -->`."""
    text = (ROOT / page).read_text()
    for name, make in TABLES[page].items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + make() + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    pages = {page: filled(page) for page in TABLES} | {"results/results.csv": results_csv()} | cards()
    for page, text in pages.items():
        write_atomically(ROOT / page, lambda file, text=text: file.write_text(text))
    PLOTS.mkdir(exist_ok=True)
    plots()
