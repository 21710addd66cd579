"""Model cards, the README of the repository and evaluation results, in the formats of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import LARGEST_TEXT, read_file, read_json
from cifar_zoo.registry import PublishedRow, model_info
from cifar_zoo.weights.manifest import Entry, Manifest

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

DATASET = "uoft-cs/cifar10"
TTA = "accuracy with test-time augmentation"


def card(
    name: str,
    tag: str,
    entry: Entry,
    tta_accuracy: float | None = None,
    exported: dict[str, Any] | None = None,
    evaluated: dict[str, Any] | None = None,
) -> str:
    """Return the model card of a weights file.

    Args:
        name: String. Registered name of the network.
        tag: String. Tag of the weights.
        entry: `Entry` of the manifest.
        tta_accuracy: Float in [0, 1]. Test accuracy with test-time augmentation, or None if it was not measured.
        exported: Dict. What benchmarks/inference.py measured with the entry's weights; None leaves it out.
        evaluated: Dict. Likewise of benchmarks/evaluation.py.
    """
    info = model_info(name)
    recipe = "\n".join(f"| {key} | {value} |" for key, value in entry.recipe.items())
    versions = ", ".join(f"{package} {number}" for package, number in entry.versions.items())
    published = "".join(_published(row, 100 * entry.test_accuracy) for row in info.rows)
    with_tta = "" if tta_accuracy is None else f"\n- With test-time augmentation (flip and shift): {tta_accuracy:.2%}"
    further = with_tta + published + _evaluated(evaluated) + _exported(exported)
    return f"""{_front_matter({name: _results(entry, tta_accuracy)}, entry.license)}
# {name}, {tag}

{info.summary}

- Paper: {info.paper}
- Parameters: {entry.params:,}
- Input: pixels 0..255, {" x ".join(map(str, info.input_shape))}; larger images are cropped to the middle
- Test accuracy: {entry.test_accuracy:.2%} on the 10,000 test images, measured once, after the last of
  {entry.epochs} epochs, on this float16 file, without test-time augmentation{further}
- Trained with `{entry.command}` (seed {entry.seed}, {entry.precision}) on {entry.hardware}; {versions};
  commit `{entry.commit}`

```python
import cifar_zoo

model = cifar_zoo.models.{name}(weights="{tag}")
```

| recipe | |
| --- | --- |
{recipe}

It knows the ten classes of CIFAR-10 and gives one of them to any image. Its training images are 32 x 32 pixels of
the web of 2008, with the biases of that source; do not use it for decisions about people.
"""


def benchmark_figures(file: Path, entry: Entry) -> dict[str, Any] | None:
    """Return what a benchmark measured with the weights of an entry, or None if it has not yet.

    Args:
        file: Path of the JSON file that benchmarks/inference.py or benchmarks/evaluation.py writes.
        entry: `Entry` of the manifest.
    """
    report = read_json(file) if file.exists() else {"networks": []}
    found = next((figures for figures in report["networks"] if figures["sha256"] == entry.sha256), None)
    return found and {**found, "hardware": report["environment"]["hardware"]}


def _evaluated(figures: dict[str, Any] | None) -> str:
    """Return the lines on calibration, corrupted and unknown images, or "" if nothing was measured."""
    if figures is None:
        return ""
    low, high = figures["accuracy_interval"]
    digits = figures["unknown"]["digits"]
    score = max(("max_softmax", "energy", "knn"), key=lambda name: digits[name]["auroc"] if name in digits else 0.0)
    return f"""
- 95% interval of the accuracy: {low:.2%} to {high:.2%}. NLL {figures["loss"]:.4f}, Brier score {figures["brier"]:.4f},
  expected calibration error {figures["ece"]:.2%} (15 bins)
- On images with the corruptions of CIFAR-10-C: {figures["corruptions"]["mean_accuracy"]:.2%} on average. Handwritten
  digits are told from the test images with an AUROC of {digits[score]["auroc"]:.2%} ({score})"""


def _exported(figures: dict[str, Any] | None) -> str:
    """Return the lines on the exported networks, or "" if nothing was measured."""
    if figures is None:
        return ""
    size, latency = figures["bytes"], figures["latency_ms"]
    return f"""
- Exported to ONNX: {size["onnx"] / 1e6:.1f} MB; one image takes {latency["onnx"][0]:.2f} ms with ONNX Runtime on
  {figures["hardware"]}. In int8: {size["onnx int8"] / 1e6:.1f} MB, {latency["onnx int8"][0]:.2f} ms, test accuracy
  {figures["int8_accuracy"]:.2%} ({100 * (figures["int8_accuracy"] - figures["accuracy"]):+.2f} points)"""


def _published(row: PublishedRow, accuracy: float) -> str:
    """Return the line that compares an accuracy in percent with that of a published row, or "" if it has none."""
    if row.accuracy is None:
        return ""
    below = f"; this file is {row.accuracy - accuracy:.2f} points below it" if accuracy < row.accuracy else ""
    return f"\n- Published: {row.accuracy:.2f}%, {row.name} of {row.table}{below}"


def front_page(manifest: Manifest, license: str) -> str:
    """Return the README.md of the repository, with a table of all weights files."""
    entries = [(name, tag, entry) for name, tags in sorted(manifest.items()) for tag, entry in sorted(tags.items())]
    rows = "\n".join(
        f"| [{name}]({name}/{tag}/README.md) | {tag}{' (best)' if entry.best else ''} | {entry.params:,} "
        f"| {entry.test_accuracy:.2%} | {entry.epochs} | {entry.bytes / 1e6:.1f} MB |"
        for name, tag, entry in entries
    )
    return f"""{_front_matter({f"{name}.{tag}": _results(entry) for name, tag, entry in entries}, license)}
# CIFAR-10 networks for Keras 3

The pretrained weights of cifar_zoo, as float16 `.weights.h5` files that plain Keras loads too. Each folder has the
file, its card, the run's configuration, history and measurements, and the logits of four fixed images.

| network | tag | parameters | test accuracy | epochs | file |
| --- | --- | ---: | ---: | ---: | ---: |
{rows}

Test accuracy is on the 10,000 test images, measured once, after the last epoch, without test-time augmentation.

```python
import cifar_zoo

model = cifar_zoo.create_model("{entries[0][0]}", weights="cifar10")  # the best; or weights="{entries[0][1]}"
```
"""


def evaluation(name: str, tag: str, entry: Entry) -> str:
    """Return the content of `.eval_results/<network>.<tag>.yaml`, which the leaderboards of the hub read."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump

    result = EvalResultEntry(
        dataset_id=DATASET,
        task_id="default",
        value=entry.test_accuracy,
        notes=f"{name}, {tag}: accuracy on the test split, without test-time augmentation",
    )
    return yaml_dump(eval_result_entries_to_yaml([result]), sort_keys=False)


def check_card(path: Path, entry: Entry) -> None:
    """Raise CifarZooError if the front matter of a model card does not match the manifest."""
    from huggingface_hub import ModelCard

    try:
        data = ModelCard(read_file(path, LARGEST_TEXT).decode()).data
        results = data.get("eval_results") or []
        found = [result.metric_value for result in results if result.metric_name is None]
    except Exception as error:  # huggingface_hub does not check the types of the fields, nor catch all of YAML's errors
        raise CifarZooError(f"{path}: its front matter cannot be read ({error})") from error
    if data.get("library_name") != "keras" or found != [entry.test_accuracy]:
        raise CifarZooError(
            f"{path}: must have library_name keras and the accuracy {entry.test_accuracy} of the manifest, not "
            f"{data.get('library_name')} and {', '.join(map(str, found)) or 'none'}; stage the run again"
        )


def _results(entry: Entry, tta_accuracy: float | None = None) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    figures = {None: entry.test_accuracy, TTA: tta_accuracy}
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=DATASET,
            dataset_name="CIFAR-10",
            dataset_split="test",
            metric_type="accuracy",
            metric_name=name,
            metric_value=value,
        )
        for name, value in figures.items()
        if value is not None
    ]


def _front_matter(results: dict[str, list[EvalResult]], license: str) -> str:
    """Return the YAML block at the beginning of a model card: license, dataset and results, which the hub reads."""
    from huggingface_hub import CardData
    from huggingface_hub.repocard_data import eval_results_to_model_index

    data: dict[str, Any] = {
        "library_name": "keras",
        "license": license.lower(),
        "pipeline_tag": "image-classification",
        "datasets": [DATASET],
        "model-index": [part for name, found in results.items() for part in eval_results_to_model_index(name, found)],
    }
    return f"---\n{CardData(**data).to_yaml()}\n---\n"
