"""The notebook runs from its first to its last cell."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "tour.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would be stale
    folder = str(tmp_path_factory.mktemp("notebook"))
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def result(cell):
    return next(eval(output.data["text/plain"]) for output in cell.outputs if output.output_type == "execute_result")


def test_the_photograph_is_a_cat(cells):
    (found,) = result(cells[1])
    assert found["classes"][0]["class"] == "cat"


def test_drawings_are_shown(cells):
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) == 2


def test_digits_are_learned_and_exported(cells):
    assert result(cells[3]) >= 0.85
    (found,) = result(cells[5])
    assert found["classes"][0]["class"] == "0"  # the first digit
