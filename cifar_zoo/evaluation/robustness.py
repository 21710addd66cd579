"""Accuracy on corrupted images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.evaluation import metrics
from cifar_zoo.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt, load_cifar10_c
from cifar_zoo.evaluation.logits import predict_logits
from cifar_zoo.evaluation.onnx_model import OnnxModel
from cifar_zoo.lazy import keras


def corruption_accuracies(
    model: keras.Model | OnnxModel,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    source: str | Path | None = None,
    batch_size: int = 100,
    from_logits: bool | None = None,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measure the accuracy of a network on the 15 corruptions of CIFAR-10-C at five severities.

    Args:
        model: A functional or Sequential model, or an `OnnxModel`.
        images: Test images, uint8 (n, 32, 32, 3), which are corrupted here.
        labels: Their labels, integers (n,).
        source: Path of the folder of the published CIFAR-10-C, whose images and labels are used instead, or None.
        batch_size: Integer. Images a step.
        from_logits: Boolean or None, as in `evaluate`.
        verbose: 0 or 1. Whether to show the progress on standard error.

    Returns:
        A dict with `set`, a string that says which images these are; the number of `images` of each corruption and
        severity; `accuracy`, for each corruption five numbers in 0..1; `mean_accuracy` over all of them; and `mce`, the
        mean corruption error 1 - `mean_accuracy`. Unlike that of ImageNet-C it is not divided by the errors of a
        baseline, as is usual with CIFAR-10-C.

    Raises:
        CifarZooError: If the published files do not exist or are damaged.

    Reference: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations", 2019 (arXiv:1903.12261).
    """
    from rich.console import Console
    from rich.progress import track

    accuracy: dict[str, list[float]] = {name: [] for name in CORRUPTIONS}
    sets = [(name, severity) for name in CORRUPTIONS for severity in range(1, SEVERITIES + 1)]
    console = Console(stderr=True)
    for name, severity in track(sets, "corruptions", console=console, transient=True, disable=not verbose):
        if source is None:
            x, y = corrupt(images, name, severity), labels
        else:
            x, y = load_cifar10_c(source, name, severity)
        logits = predict_logits(model, x, batch_size=batch_size, from_logits=from_logits)
        accuracy[name].append(metrics.accuracy(logits, y))
    mean = float(np.mean(list(accuracy.values())))
    made = "made by cifar_zoo with the strengths of CIFAR-10-C"
    return {
        "set": made if source is None else "CIFAR-10-C, the published files",
        "images": len(y),
        "accuracy": accuracy,
        "mean_accuracy": mean,
        "mce": 1 - mean,
    }
