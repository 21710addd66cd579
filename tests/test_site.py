"""The documentation site builds without a warning, and its pages are whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cifar_zoo

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("mkdocs", "mkdocs_gen_files", "mkdocstrings", "material"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    # Strict: a link to a page or heading that does not exist is an error, and so is a page that nothing links to.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_network_and_public_name_has_its_place(site):
    pages = {path.stem for path in (site / "networks").glob("*.html")}
    assert pages == {*cifar_zoo.list_models(), "index"}
    reference = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    documented = set(re.findall(r'id="(cifar_zoo\.[\w.]+)"', reference))
    for name in cifar_zoo.__all__:
        value = getattr(cifar_zoo, name)
        if callable(value):
            assert f"{value.__module__}.{value.__qualname__}" in documented
    for name in cifar_zoo.layers.__all__:
        layer = getattr(cifar_zoo.layers, name)
        assert f"{layer.__module__}.{name}" in documented


def test_the_page_of_a_network_shows_its_facts(site):
    page = (site / "networks" / "resnet20.html").read_text()
    assert "274,042" in page and "93.16%" in page and page.count('<svg class="drawing"') == 2
    assert "Args:" not in page


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        for source in re.findall(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"?([^\"\s>]+)", page.read_text()):
            assert not source.startswith(("http:", "https:", "//")), (page, source)
