"""Description of the environment of a run: command, hardware, versions and commit."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cifar_zoo.version import __version__

# From the fastest. Speeds can be compared only between CPUs with the same of these.
_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2"}


def describe_environment() -> dict[str, Any]:
    """Describes the environment of this process.

    Returns:
        A dictionary of plain values: the command line, the backend, the hardware, the versions of the packages, and the
        commit of the source.
    """
    import keras

    backend = keras.backend.backend()
    packages = {
        "keras": "keras",
        backend: {"jax": "jax", "torch": "torch"}.get(backend, "tensorflow"),
        "numpy": "numpy",
    }
    program = Path(sys.argv[0]).name.replace("__main__.py", "cifar-zoo")
    return {
        "command": without_paths([program, *sys.argv[1:]]),
        "backend": backend,
        "hardware": _hardware(backend),
        "versions": {
            "cifar_zoo": __version__,
            "python": platform.python_version(),
            **{name: _version(package) for name, package in packages.items()},
        },
        "commit": _commit(),
    }


def without_paths(words: list[str]) -> str:
    """Returns a command line without the options that only name local paths and hosts, such as `--run-dir`.

    Args:
        words: The program and its arguments.

    Returns:
        The command as one string, quoted for a shell.
    """
    options = ("--run-dir", "--runs", "--data", "--coordinator", "--process-id")
    kept, given = [], iter(words)
    for word in given:
        if word in options:
            next(given, None)
        elif not word.startswith(tuple(f"{option}=" for option in options)):
            kept.append(word)
    return shlex.join(kept)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "unknown"))


def _hardware(backend: str) -> str:
    accelerators: list[str] = []
    if backend == "jax":
        import jax

        accelerators = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    elif backend == "torch":
        import torch

        accelerators = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    else:
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            accelerators.append(tf.config.experimental.get_device_details(device).get("device_name", "GPU"))
    if accelerators:
        return ", ".join(accelerators)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {cpu(cpuinfo())}"


def cpuinfo() -> str:
    """Returns the text of /proc/cpuinfo, or "" where there is none, as outside of Linux."""
    file = Path("/proc/cpuinfo")
    return file.read_text("utf-8", "replace") if file.exists() else ""


def cpu(text: str) -> str:
    """Describes a CPU by its name and the best of its instructions for training.

    Args:
        text: What `cpuinfo` returns.

    Returns:
        A string such as "AMD EPYC with AVX512-BF16".
    """
    fields = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    facts = {name.strip(): value.strip() for name, value in fields}
    flags = facts.get("flags", "").split()
    best = next((f" with {name}" for flag, name in _INSTRUCTIONS.items() if flag in flags), "")
    return (facts.get("model name") or platform.processor() or platform.machine()) + best


def _commit() -> str:
    """Returns the commit of the source checkout, with "-changed" if files differ from it.

    Without a checkout it is the release of the package, and "unknown" if git fails.
    """
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return f"release {__version__}"
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("-changed" if changed else "")
