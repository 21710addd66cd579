"""What is recorded about a run."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from cifar_zoo.backend.environment import cpu, without_paths
from cifar_zoo.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_paths_stay_at_home():
    words = ["cifar-zoo", "fit", "nin0", "--run-dir", "/home/me/my runs", "--epochs", "3", "--data=../cifar10.npz"]
    assert without_paths([*words, "--seed", "1", "--set", "l2=0 ", "--run-dir"]) == (
        "cifar-zoo fit nin0 --epochs 3 --seed 1 --set 'l2=0 '"
    )


@pytest.mark.parametrize(
    "flags, name",
    [
        ("fpu avx avx2", "AMD EPYC with AVX2"),
        ("fpu avx2 avx512f avx512_vnni", "AMD EPYC with AVX512"),
        ("fpu avx2 avx512f avx512_bf16", "AMD EPYC with AVX512-BF16"),
        ("fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "AMD EPYC with AMX"),
        ("fpu sse2", "AMD EPYC"),
    ],
)
def test_a_cpu_is_named_with_its_instructions(flags, name):
    core = f"processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: {flags}\npower management:\n\n"
    assert cpu(core * 2) == name


def test_a_cpu_without_a_description_has_the_name_that_python_knows():
    assert cpu("") == (platform.processor() or platform.machine())


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_is_that_of_the_checkout(python, tmp_path):
    """Of a copy: without a history, as installed, then with one, then with a changed file."""
    source = tmp_path / "cifar_zoo"
    shutil.copytree(ROOT / "cifar_zoo", source, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
    names = {
        f"GIT_{who}_{what}": "someone@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }

    def run(*command):
        options = {"cwd": tmp_path, "env": {**os.environ, **names}, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, **options).stdout.strip()

    def recorded():
        code = "from cifar_zoo.backend.environment import describe_environment as d; print(d()['commit'])"
        return python("-c", code, cwd=tmp_path).stdout.strip()

    assert recorded() == f"release {__version__}"
    for command in (["init", "-q"], ["add", "cifar_zoo"], ["commit", "-q", "-m", "all"]):
        run("git", *command)
    head = run("git", "rev-parse", "HEAD")
    assert len(head) == 40 and recorded() == head
    (source / "version.py").write_text((source / "version.py").read_text() + "\n")
    assert recorded() == f"{head}-changed"
