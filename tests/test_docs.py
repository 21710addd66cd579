"""README and docs agree with the code and the results."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("page", generate.TABLES)
def test_the_tables_are_those_of_the_register_and_the_manifest(page):
    assert (ROOT / page).read_text() == generate.filled(page), "stale: run `python docs/generate.py`"


def test_the_table_for_programs_is_that_of_the_results():
    assert (ROOT / "results" / "results.csv").read_text() == generate.results_csv(), "stale: run docs/generate.py"


def test_the_plots_are_those_of_the_results():
    plots = sorted((ROOT / "docs" / "plots").iterdir())
    assert len(plots) == 3
    for plot in plots:
        assert generate.plotted() in plot.read_text(), f"{plot.name} is stale: run docs/generate.py"
        assert f"plots/{plot.name}" in (ROOT / "docs" / "results.md").read_text()


def test_every_command_is_shown():
    from cifar_zoo.cli import commands

    for name in commands.commands:
        assert f"cifar-zoo {name} " in (ROOT / "README.md").read_text()
