"""Write the tables of README.md and docs/ from the register, the manifest and the docstrings.

python docs/generate.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import cifar_zoo
from cifar_zoo.evaluation.inspection import layer_table
from cifar_zoo.files import write_whole
from cifar_zoo.registry import ModelInfo
from cifar_zoo.weights.manifest import best, read_manifest

ROOT = Path(__file__).resolve().parent.parent


def networks() -> str:
    """The table of the README: what there is, and how good it is."""
    rows = ["| network | parameters | input | test accuracy | |", "| --- | ---: | --- | ---: | --- |"]
    for info in _infos():
        height, width, _ = info.input_shape
        rows.append(f"| {info.name} | {info.params:,} | {height}x{width} | {_accuracy(info)} | {info.summary} |")
    return "\n".join(rows)


def costs() -> str:
    """The table of docs/models.md: what each network costs and where it comes from."""
    rows = [
        "| network | paper | parameters | trainable | multiply-adds | activations | published row | ours |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for info in _infos():
        table = layer_table(info.name)
        multiply_adds = f"{sum(row.multiply_adds for row in table) / 1e6:,.1f} M"
        megabytes = f"{4 * sum(row.activations for row in table) / 1e6:,.1f} MB"
        paper = re.sub(r"arXiv:(\d+\.\d+)", r"[\1](https://arxiv.org/abs/\1)", info.paper)
        published = "; ".join(f"{row.name} {f'{row.accuracy:.2f}%' if row.accuracy else '-'}" for row in info.rows)
        rows.append(
            f"| {info.name} | {paper} | {info.params:,} | {info.trainable:,} | {multiply_adds} | {megabytes} "
            f"| {published} | {_accuracy(info)} |"
        )
    return "\n".join(rows)


def layers() -> str:
    """The table of docs/layers.md."""
    rows = ["| layer | |", "| --- | --- |"]
    for name in cifar_zoo.layers.__all__:
        summary = inspect.getdoc(getattr(cifar_zoo.layers, name)).split("\n\n")[0]
        rows.append(f"| `{name}` | {' '.join(summary.split())} |")
    return "\n".join(rows)


def _infos() -> list[ModelInfo]:
    return [cifar_zoo.model_info(name) for name in cifar_zoo.list_models()]


def _accuracy(info: ModelInfo) -> str:
    tags = read_manifest().get(info.name)
    return f"{best(tags)[1].test_accuracy:.2%}" if tags else ""


TABLES = {"README.md": {"networks": networks}, "docs/models.md": {"costs": costs}, "docs/layers.md": {"layers": layers}}


def filled(page: str) -> str:
    """A page with its tables made anew, each between `<!-- name -->` and `<!-- end of name -->`."""
    text = (ROOT / page).read_text()
    for name, make in TABLES[page].items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + make() + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    for page in TABLES:
        text = filled(page)
        write_whole(ROOT / page, lambda file, text=text: file.write_text(text))
