"""The documentation site builds without a warning, and its pages are whole."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import cifar_zoo

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("mkdocs", "mkdocs_gen_files", "mkdocstrings", "material"):
        pytest.importorskip(package)
    if shutil.which("npm") is None:
        pytest.skip("npm fetches ONNX Runtime Web")
    folder = tmp_path_factory.mktemp("site")
    # Strict: a link to a page or heading that does not exist is an error, and so is a page that nothing links to.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    environment.pop("CIFAR_ZOO_DATA", None)  # without it the network of the page for the browser stays in float32
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_network_and_public_name_has_its_place(site):
    pages = {path.stem for path in (site / "networks").glob("*.html")}
    assert pages == {*cifar_zoo.list_models(), "index", "SUMMARY"}  # of which the last is the navigation
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


@pytest.fixture
def browser_page(site):
    """A page of a headless Chromium, and the address of the site on the loopback interface."""
    playwright = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium") or shutil.which("chromium-browser")) is None:
        pytest.skip("chromium is not installed")

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }
        log_message = lambda *_: None  # noqa: E731

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            yield browser.new_page(viewport={"width": 390, "height": 800}), f"http://127.0.0.1:{server.server_port}"
            browser.close()
    finally:
        server.shutdown()
        server.server_close()


def test_the_browser_sees_what_the_library_sees(browser_page, tmp_path):
    """Photographs that are not part of the repository: those of scikit-image, also rotated by EXIF and transparent."""
    import skimage.data
    from PIL import Image

    folder = Path(skimage.data.__file__).parent
    photographs = [folder / name for name in ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")]
    rotated = Image.open(folder / "rocket.jpg").rotate(90, expand=True)
    exif = Image.Exif()
    exif[274] = 6  # to be shown rotated back
    rotated.save(tmp_path / "rotated.jpg", exif=exif, quality=95)
    cut = Image.open(folder / "chelsea.png").convert("RGBA")
    cut.putalpha(Image.linear_gradient("L").resize(cut.size))
    cut.save(tmp_path / "transparent.png")
    photographs += [tmp_path / "rotated.jpg", tmp_path / "transparent.png"]
    expected = [result["classes"][0] for result in cifar_zoo.predict("resnet20", photographs)]

    page, address = browser_page
    outside = []
    page.on(
        "request", lambda request: request.url.startswith((address, "blob:", "data:")) or outside.append(request.url)
    )
    page.goto(f"{address}/try.html")
    page.wait_for_function("document.getElementById('try-status').textContent === 'Ready.'", timeout=60_000)
    for photograph, best in zip(photographs, expected, strict=True):
        page.evaluate("document.getElementById('try-status').textContent = ''")
        page.set_input_files("#try-file", photograph)
        page.wait_for_function("document.getElementById('try-status').textContent !== ''", timeout=30_000)
        status = page.inner_text("#try-status")
        assert f"It is most like: {best['class']}." in status, (photograph, status, best)
        assert int(re.search(r"in (\d+) ms", status)[1]) < 1000  # 14 to 30 on an idle machine
        shown = float(re.search(r"([\d.]+) %", page.inner_text("#try-classes li:first-child"))[1]) / 100
        assert shown == pytest.approx(best["probability"], abs=0.05)
    page.set_input_files("#try-file", ROOT / "README.md")
    page.wait_for_function("document.getElementById('try-status').textContent.includes('README.md is not an image')")
    assert not outside
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # at the width of a phone


def test_a_browser_without_webassembly_is_told(browser_page):
    page, address = browser_page
    page.add_init_script("delete window.WebAssembly")
    page.goto(f"{address}/try.html")
    page.wait_for_function("document.getElementById('try-status').textContent.includes('has no WebAssembly')")


def test_the_table_of_networks_can_be_sorted_and_filtered(browser_page):
    page, address = browser_page
    page.goto(f"{address}/models.html")
    names = lambda: page.eval_on_selector_all(  # noqa: E731
        "table[data-sortable] tbody tr:not([hidden]) td:first-child", "cells => cells.map(cell => cell.textContent)"
    )
    assert names() == cifar_zoo.list_models()
    by_size = sorted(cifar_zoo.list_models(), key=lambda name: cifar_zoo.model_info(name).params)
    page.get_by_role("button", name="parameters").click()
    assert names()[0] == by_size[0] and names()[-1] == by_size[-1]
    page.get_by_role("button", name="parameters").press("Enter")  # by the keyboard, and the other way round
    assert names()[0] == by_size[-1]
    page.locator(".table-filter").fill("resnet20")
    assert names() == ["resnet20"]
