"""The README says what is so."""

from pathlib import Path

import cifar_zoo
from cifar_zoo.weights.manifest import best, read_manifest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def table():
    """The rows that the table of networks must have."""
    for name in cifar_zoo.list_models():
        info, tags = cifar_zoo.model_info(name), read_manifest().get(name)
        accuracy = f"{best(tags)[1].test_accuracy:.2%}" if tags else ""
        height, width, _ = info.input_shape
        yield f"| {name} | {info.params:,} | {height}x{width} | {accuracy} | {info.summary} |"


def test_the_table_is_that_of_the_register_and_the_manifest():
    heads = ("| network", "| ---")
    rows = [line for line in README.splitlines() if line.startswith("| ") and not line.startswith(heads)]
    assert rows == list(table())


def test_every_command_is_shown():
    from cifar_zoo.cli import commands

    for name in commands.commands:
        assert f"cifar-zoo {name} " in README
