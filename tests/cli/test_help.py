"""The help of the command line, and what shells complete, by click's own protocol and in a real bash."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cifar_zoo
from cifar_zoo.cli import commands

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_help_lists_every_command_in_one_group(zoo):
    text = zoo("--help", env={"COLUMNS": "80"}).stdout
    groups = re.split(r"^(\w.*):\n", text.partition("Options:")[2], flags=re.M)[1:]
    found = [
        (title, line.split()[0])
        for title, body in zip(groups[::2], groups[1::2], strict=True)
        for line in body.splitlines()
        if line.strip()
    ]
    assert sorted(name for _, name in found) == sorted(commands.commands)
    assert list(dict.fromkeys(title for title, _ in found)) == ["Choose a network", "Use it", "Train", "Publish"]
    assert {("Use it", "predict"), ("Train", "fit"), ("Publish", "pack"), ("Choose a network", "list")} < set(found)
    assert max(map(len, text.splitlines())) <= 80 and text.count("...") == 1  # of the usage: no summary is cut off


def complete(*words):
    """What `cifar-zoo WORDS` completes in bash: the kinds and values of the items."""
    environment = {
        **os.environ,
        "COMP_WORDS": "\n".join(["cifar-zoo", *words]),
        "COMP_CWORD": str(len(words)),
        "_CIFAR_ZOO_COMPLETE": "bash_complete",
    }
    command = [sys.executable, "-m", "cifar_zoo"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", sorted(set(commands.commands) - {"pack", "publish"}))
def test_networks_are_completed(name):
    assert complete(name, "resnet1") == [("plain", "resnet18"), ("plain", "resnet110")]


def test_commands_options_and_files_are_completed():
    assert complete("ev") == [("plain", "evaluate")]
    assert complete("export", "resnet20", "--format", "o") == [("plain", "onnx"), ("plain", "openvino")]
    assert complete("predict", "photographs/") == [("file", "photographs/")]
    assert [value for _, value in complete("download", "nin", "")] == cifar_zoo.list_models()


def test_completion_is_quick_and_loads_no_backend(tmp_path, monkeypatch):
    for backend in ("tensorflow", "jax", "torch", "keras"):
        (tmp_path / f"{backend}.py").write_text("raise SystemExit('imported')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert ("plain", "resnet20") in complete("info", "res")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0


def test_bash_completes_with_the_script_of_the_documentation(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    command = tmp_path / "cifar-zoo"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cifar_zoo "$@"\n')
    command.chmod(0o755)
    line = re.search("^eval .*bash_source.*$", (ROOT / "docs" / "install.md").read_text(), re.M).group()
    script = (
        f"{line}\n"
        + """
complete -p cifar-zoo
COMP_WORDS=(cifar-zoo info squeezen) COMP_CWORD=2
_cifar_zoo_completion cifar-zoo squeezen info
echo "${COMPREPLY[@]}"
"""
    )
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "squeezenet", done.stderr
    assert "_cifar_zoo_completion" in done.stdout.splitlines()[0]
