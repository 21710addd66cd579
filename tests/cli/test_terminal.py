"""What the commands print on a terminal of 80 columns, which is a real pseudo terminal, and where they are piped."""

import json
import os
import re
import subprocess
import sys

import pytest

import cifar_zoo

COLORS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def on_terminal(*arguments, columns=80):
    """The output of Python on a terminal: the exit code, and the lines with and without escape sequences."""
    pytest.importorskip("pty")
    import termios

    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name not in COLORS}
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            part = os.read(ours, 2**16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        output += part
    os.close(ours)
    lines = output.decode().splitlines()
    return process.wait(), lines, [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


@pytest.mark.parametrize("command", ["list", "results", "recipes"])
def test_tables_fit_on_a_terminal_with_every_name_whole(command):
    code, colored, lines = on_terminal("-m", "cifar_zoo", command)
    assert code == 0 and max(map(len, lines)) <= 80
    heading, *body = [line for line in lines if line and not line.startswith(" ")]
    assert heading.startswith("network") and "\x1b[1m" in "".join(colored)
    names = dict.fromkeys(line.split()[0] for line in body)
    assert list(names) == cifar_zoo.list_models()


def test_a_network_fits_on_a_terminal_with_every_layer_whole(zoo):
    described = json.loads(zoo("info", "resnet20", "--json").stdout)
    code, _, lines = on_terminal("-m", "cifar_zoo", "info", "resnet20")
    assert code == 0 and max(map(len, lines)) <= 80
    first = {line.split()[0]: line.split() for line in lines if line.strip()}
    for layer in described["layers"]:
        _, kind, *numbers = first[layer["name"]]
        assert layer["kind"].startswith(kind)  # a long one goes on in the next line
        shape = "x".join(map(str, layer["output_shape"]))
        assert numbers == [shape, f"{layer['params']:,}", f"{layer['multiply_adds']:,}"]
    assert " ".join(first["parameters"]) == "parameters 274,042, of which 272,474 trainable"


FIGURES = {
    "accuracy": 0.91234,
    "accuracy_interval": (0.9, 0.92),
    "images": 10_000,
    "correct": 9123,
    "loss": 0.25,
    "brier": 0.125,
    "ece": 0.0312,
    "tta_accuracy": 0.92,
    "tta_correct": 9200,
    "tta_loss": 0.24,
    "temperature": {"temperature": 1.25, "held_out": 5000, "loss": 0.22, "ece": 0.011},
    "human": {"cross_entropy": 0.61, "entropy_correlation": 0.321},
    "corruptions": {
        "set": "made by cifar_zoo with the strengths of CIFAR-10-C",
        "mean_accuracy": 0.7,
        "accuracy": {"gaussian_noise": [0.9, 0.8, 0.7, 0.6, 0.5], "jpeg_compression": [1.0, 0.9, 0.8, 0.7, 0.6]},
    },
    "unknown": {"images": 300, "max_softmax": {"auroc": 0.91, "fpr95": 0.4}, "energy": {"auroc": 0.93, "fpr95": 0.3}},
}
PRINT = f"from cifar_zoo.cli.evaluate import _print_figures; _print_figures('se_wide_resnet28_10', {FIGURES!r})"


def test_all_figures_of_an_evaluation_fit_on_a_terminal():
    code, _, lines = on_terminal("-c", PRINT)
    assert code == 0 and max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    assert "91.23% of 10000 test images (9123 right, 95 % interval" in words and "calibration error 3.12%" in words
    assert "temperature 1.250" in words and "cross-entropy 0.6100" in words
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["gaussian_noise"] == ["90.00%", "80.00%", "70.00%", "60.00%", "50.00%"]
    assert rows["energy"] == ["93.00%", "30.00%"]


def test_piped_figures_are_sentences():
    done = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "se_wide_resnet28_10: 91.23% of 10000 test images (9123 right, 95 % interval 90.00% to 92.00%)\n"
        "loss 0.2500, Brier score 0.1250, calibration error 3.12%\n"
        "with test-time augmentation (flip and shift, six views): 92.00% (9200 right), loss 0.2400\n"
        "with the temperature 1.250, fitted to 5000 held-out images: loss 0.2200, calibration error 1.10%\n"
        "people (CIFAR-10H): cross-entropy 0.6100, rank correlation of the entropies 0.321\n"
        "corrupted images (made by cifar_zoo with the strengths of CIFAR-10-C): 70.00% on average\n"
        "  gaussian_noise      90.00%  80.00%  70.00%  60.00%  50.00%\n"
        "  jpeg_compression   100.00%  90.00%  80.00%  70.00%  60.00%\n"
        "300 unknown images:\n"
        "  max_softmax  AUROC 91.00%, FPR at 95 % TPR 40.00%\n"
        "  energy       AUROC 93.00%, FPR at 95 % TPR 30.00%\n"
    )


@pytest.mark.parametrize("command", ["list", "results", "recipes", "recipes resnet20", "info resnet20 --brief"])
def test_piped_output_is_plain_and_needs_no_rich(command):
    code = f"""
import sys
from cifar_zoo.cli import commands
commands({command.split()!r}, standalone_mode=False)
assert "rich" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "40"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() or command == "results"  # which has the sign ± of a deviation
    assert "\x1b" not in done.stdout and not re.search("[\u2500-\u257f]", done.stdout)


def test_columns_of_piped_tables_can_be_cut():
    """As on a line of the shell, in which every network is one line, however narrow the terminal."""
    python = f"{sys.executable} -m cifar_zoo"
    line = f"{python} list | awk '{{print $1, $2}}'; echo; {python} results '[!w]*' | cut -c 1-25,54-63"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    listed, results = done.stdout.split("\n\n")
    infos = [cifar_zoo.model_info(name) for name in cifar_zoo.list_models()]
    assert listed.splitlines() == [f"{info.name} {info.params:,}" for info in infos]
    found = {row.split()[0]: row.split()[1] for row in results.splitlines()[1:]}
    published = {info.name: info.rows[0].accuracy for info in infos if info.name in found and len(info.rows) == 1}
    assert len(published) > 20
    assert {name: found[name] for name in published} == {
        name: f"{accuracy:.2f}" if accuracy else "-" for name, accuracy in published.items()
    }
