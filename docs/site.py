"""The pages of the documentation site that are made while it is built: one a network, the API reference, and the files
of the repository that pages refer to. Run by mkdocs (mkdocs.yml).
"""

from __future__ import annotations

import ast
import base64
import hashlib
import inspect
import os
import re
import subprocess
import tarfile
import tempfile
from html import escape
from pathlib import Path

import mkdocs_gen_files

import cifar_zoo
from cifar_zoo.evaluation.costs import LayerFacts, layer_table
from cifar_zoo.registry import ModelInfo
from cifar_zoo.results import RunRecord, read_records
from cifar_zoo.training.recipes import find_recipe
from cifar_zoo.weights.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent
# The npm package of ONNX Runtime Web, MIT license, and its SHA-512 in the npm registry.
ORT = "onnxruntime-web@1.30.0"
ORT_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# Rooms with public functions that `cifar_zoo` itself does not export, and their modules.
MODULES = {
    "evaluation": ("metrics", "ood", "robustness", "corruptions", "inspection", "costs"),
    "data": ("variants",),
    "training": ("callbacks.activation_histograms",),
}
TITLES = {
    "registry": "Networks",
    "models": "Architectures",
    "data": "Data",
    "training": "Training",
    "evaluation": "Evaluation",
    "exporting": "Export",
    "weights": "Weights",
    "errors": "Errors",
}


def write(path: str, text: str) -> None:
    """Add a page to the site."""
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)


def network_page(info: ModelInfo, records: list[RunRecord]) -> str:
    """The page of one network."""
    rows = layer_table(info.name)
    constructor = getattr(cifar_zoo.models, info.name)
    summary, _, details = inspect.getdoc(constructor).split("\nArgs:")[0].strip().partition("\n\n")
    tags = read_manifest().get(info.name, {})
    loaded = 'weights="cifar10"' if tags else ""
    published = "; ".join(f"{row.name} of {row.table}: {row.accuracy or '-'} %" for row in info.rows) or "none"
    paper = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", info.paper)
    parts = [
        f"# {info.name}\n\n{summary}\n\n{details}\n",
        drawing(rows),
        "| | |\n| --- | --- |\n"
        f"| paper | {paper} |\n"
        f"| parameters | {info.params:,}, of which {info.trainable:,} are trained |\n"
        f"| multiply-adds | {sum(row.multiply_adds for row in rows) / 1e6:,.1f} million for one image |\n"
        f"| input | {' x '.join(map(str, info.input_shape))}, pixels 0..255 |\n"
        f"| published accuracy | {published} |\n",
        *(
            f"| weights `{tag}` | {entry.test_accuracy:.2%} on the test images, {entry.bytes / 1e6:.1f} MB, "
            f"{entry.epochs} epochs |\n"
            for tag, entry in sorted(tags.items())
        ),
        f"\n```python\nimport cifar_zoo\n\nmodel = cifar_zoo.models.{info.name}({loaded})\n```\n",
    ]
    if not tags:
        parts.append(
            "There are no published weights of this network yet: `cifar-zoo fit " + info.name + "` trains it.\n"
        )
    if own := [record for record in records if record.model == info.name]:
        parts += ["\n## Learning curve\n\n", curve(own)]
    recipe = find_recipe("zoo", info.name)
    fields = "".join(f"| {key} | {value} |\n" for key, value in recipe.to_dict().items())
    parts.append(f"\n## Recipe `zoo`\n\n| field | value |\n| --- | --- |\n{fields}")
    layers = "".join(
        f"| {row.name} | {row.kind} | {' x '.join(map(str, row.output_shape))} | {row.params:,} "
        f"| {row.multiply_adds:,} |\n"
        for row in rows
    )
    parts.append(
        "\n## Layers\n\n| layer | class | output | parameters | multiply-adds |\n| --- | --- | --- | ---: | ---: |\n"
        + layers
    )
    return "".join(parts)


def drawing(rows: list[LayerFacts]) -> str:
    """An SVG of the feature maps: the input, the end of each stage and the class scores, drawn to scale."""
    shapes = [("pixels", rows[0].output_shape)]
    shapes += [(row.name, row.output_shape) for row in rows if re.fullmatch(r"stage\d+", row.name)]
    shapes.append(("classes", rows[-1].output_shape))
    boxes, x = [], 10.0
    for name, shape in shapes:
        height = 2.5 * shape[0] if len(shape) == 3 else 3.0 * shape[0]
        width = 4 + 2.2 * shape[-1] ** 0.5 if len(shape) == 3 else 6
        label = " x ".join(map(str, shape))
        top, middle = 60 - height / 2 + 30, x + width / 2
        boxes.append(
            f'<rect x="{x:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="3" fill="#5c6bc0"'
            f' fill-opacity="0.75"><title>{escape(name)}: {label}</title></rect>'
            f'<text x="{middle:.0f}" y="14" text-anchor="middle">{escape(name)}</text>'
            f'<text x="{middle:.0f}" y="148" text-anchor="middle">{label}</text>'
        )
        x += max(width, 7.2 * max(len(name), len(label))) + 24
    described = "; ".join(f"{name} {' by '.join(map(str, shape))}" for name, shape in shapes)
    return (
        f'<svg class="drawing" viewBox="-30 0 {x + 50:.0f} 156" width="{x + 50:.0f}" height="156" role="img" '
        f'aria-label="Sizes of the feature maps: {escape(described)}" xmlns="http://www.w3.org/2000/svg" '
        f'font-size="12" font-family="sans-serif" fill="currentColor">{"".join(boxes)}</svg>\n\n'
    )


def curve(records: list[RunRecord]) -> str:
    """An SVG of the training loss of each run."""
    lines, width, height = [], 480, 200
    longest = max(len(record.history) for record in records)
    highest = max(row["loss"] for record in records for row in record.history)
    for number, record in enumerate(records):
        points = " ".join(
            f"{40 + (width - 60) * (row['epoch'] - 1) / max(longest - 1, 1):.1f},"
            f"{height - 30 - (height - 50) * row['loss'] / highest:.1f}"
            for row in record.history
        )
        name = f"{record.tag}, seed {record.seed}"
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="#5c6bc0" stroke-width="2" '
            f'stroke-dasharray="{0 if not number else 3 * number}"><title>{escape(name)}</title></polyline>'
        )
    last = ", ".join(f"{record.history[-1]['loss']:.3f} ({record.tag}, seed {record.seed})" for record in records)
    return (
        f'<svg class="drawing" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Training loss by epoch" xmlns="http://www.w3.org/2000/svg" font-size="12" '
        f'font-family="sans-serif" fill="currentColor">{"".join(lines)}'
        f'<path d="M40 15V{height - 30}H{width - 15}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
        f'<text x="4" y="24">{highest:.2f}</text><text x="14" y="{height - 28}">0</text>'
        f'<text x="40" y="{height - 10}">epoch 1</text>'
        f'<text x="{width - 15}" y="{height - 10}" text-anchor="end">epoch {longest}</text></svg>\n\n'
        f"Training loss of each epoch, with augmentation; after the last one: {last}.\n"
    )


def reference() -> dict[str, str]:
    """The pages of the API reference by their names: every public name, by the room that it comes from."""
    found: dict[str, list[str]] = {}
    for node in ast.parse((ROOT / "cifar_zoo" / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "version":
            for alias in node.names:
                if not inspect.ismodule(getattr(cifar_zoo, alias.name)):  # these have pages of their own
                    room = node.module.split(".")[0]
                    found.setdefault(room, []).append(f"cifar_zoo.{node.module}.{alias.name}")
    pages = {}
    for room, names in found.items():
        functions = "".join(f"::: {name}\n\n" for name in names)
        modules = "".join(
            f"## cifar_zoo.{room}.{module}\n\n::: cifar_zoo.{room}.{module}\n    options:\n"
            "      show_root_heading: false\n      show_root_toc_entry: false\n\n"
            for module in MODULES.get(room, ())
        )
        pages[TITLES.get(room, room.capitalize())] = functions + modules
    for title, module in (
        ("Layers", cifar_zoo.layers),
        ("Optimizers", cifar_zoo.optimizers),
        ("Schedules", cifar_zoo.schedules),
    ):
        objects = [
            item
            for name, item in inspect.getmembers(module, lambda item: inspect.isclass(item) or inspect.isfunction(item))
            if not name.startswith("_") and item.__module__.startswith(module.__name__)
        ]
        pages[title] = "".join(f"::: {obj.__module__}.{obj.__qualname__}\n\n" for obj in objects)
    return pages


def add_network_for_the_browser() -> None:
    """Add what docs/try.md runs: an exported network, and ONNX Runtime Web from its npm package."""
    int8 = bool(os.environ.get("CIFAR_ZOO_DATA"))  # int8 is calibrated with training images
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "network.onnx"
        cifar_zoo.export("resnet20", exported, int8=int8)
        content = {"network.onnx": exported.read_bytes()}
        subprocess.run(["npm", "pack", "--silent", ORT], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (package,) = Path(folder).glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if digest != ORT_SHA512:
            raise SystemExit(f"{ORT} has another SHA-512 than expected: {digest}")
        with tarfile.open(package) as archive:
            for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
                content[name] = archive.extractfile(f"package/dist/{name}").read()
    for name, data in content.items():
        with mkdocs_gen_files.open(f"try/{name}", "wb") as file:
            file.write(data)


def main() -> None:
    """Add all pages."""
    add_network_for_the_browser()
    records = list(read_records(ROOT / "results").values())
    index, nav = ["# Networks, one by one\n\n"], ["* [All](index.md)\n"]
    for name in cifar_zoo.list_models():
        info = cifar_zoo.model_info(name)
        write(f"networks/{name}.md", network_page(info, records))
        index.append(f"- [{name}]({name}.md): {info.summary}\n")
        nav.append(f"* [{name}]({name}.md)\n")
    write("networks/index.md", "".join(index))
    write("networks/SUMMARY.md", "".join(nav))
    pages = reference()
    for title, text in pages.items():
        write(f"reference/{title.lower()}.md", f"# {title}\n\n{text}")
    links = "".join(f"* [{title}]({title.lower()}.md)\n" for title in pages)
    write("reference/index.md", f"# API reference\n\n{links}")
    write("reference/SUMMARY.md", f"* [All](index.md)\n{links}")
    for name in ("CONTRIBUTING", "SECURITY", "CHANGELOG"):
        text = (ROOT / f"{name}.md").read_text()
        write(f"{name.lower()}.md", re.sub(r"\]\(docs/", "](", text))


main()
