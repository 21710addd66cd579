"""Downloads with huggingface_hub from a local server that simulates the failures of a hub."""

import asyncio
import base64
import hashlib
import json
import logging
import os
import platform
import pty
import random
import shutil
import signal
import socket
import subprocess
import sys
import termios
import textwrap
import threading
import time
import traceback
import tracemalloc
from pathlib import Path

import pytest
from hub_server import HubServer

from cifar_zoo import CifarZooError
from cifar_zoo import download as downloads
from cifar_zoo.weights import hub as client
from cifar_zoo.weights.manifest import read_manifest, write_manifest

ROOT = Path(__file__).resolve().parents[2]
CONTENT = random.Random(0).randbytes(300_000)
FILES = "/org/zoo/resolve/*"
PUBLISHED = read_manifest()["squeeze1"]["zoo"]


def publish(hub, content=CONTENT, entry=PUBLISHED):
    """An entry with some content that is on a hub."""
    revision = hub.add("org/zoo", {entry.file: content})
    digest = hashlib.sha256(content).hexdigest()
    return entry.model_copy(update=dict(repository="org/zoo", revision=revision, bytes=len(content), sha256=digest))


def cached(home, entry=PUBLISHED):
    """Where a published file is kept."""
    network, tag, _ = entry.file.split("/")
    return home / "weights" / f"{network}.{tag}-{entry.sha256[:16]}.weights.h5"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def home(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(client, "_temporary", None)
    return tmp_path / "home"


@pytest.fixture
def pauses(monkeypatch):
    """How long the client and we wait between attempts; nobody really does."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def test_a_download_asks_once_and_the_cache_not_at_all(hub, home):
    entry = publish(hub)
    path, content = client.download(entry)
    assert path == cached(home, entry) and path.read_bytes() == content == CONTENT
    asked = [(request.method, request.path) for request in hub.log]
    assert asked == [("GET", f"/org/zoo/resolve/{entry.revision}/{entry.file}")]
    assert files(home) == [f"weights/{path.name}"]
    assert path.stat().st_mode & 0o444 == 0o444
    hub.clear()
    assert client.download(entry) == (path, CONTENT) and hub.log == []


def test_two_versions_of_the_library_keep_their_files(hub, home):
    """Files of one network and tag, each with a hash of its own."""
    entries = [publish(hub, content) for content in (CONTENT, CONTENT[::-1])]
    paths = [client.download(entry)[0] for entry in entries]
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT[::-1]]
    hub.clear()
    assert [client.download(entry)[0] for entry in entries] == paths and hub.log == []


@pytest.mark.parametrize(
    "faults, least_pause",
    [
        ([("cut", 100_000, 1)], 1),
        ([("cut", 100_000, 2)], 2),
        ([("close", None, 1)], 1),
        ([("slow", 0.2, 2)], 0),
        ([("trickle", 0.005, 1)], 0),
        ([("status", (429, {"Retry-After": "7"}), 1)], 7),
        ([("status", 500, 2)], 2),
        ([("status", 503, 3)], 4),
        ([("status", 500, 1), ("cut", 5, 1), ("flip", None, 1)], 4),
        ([("flip", None, 2)], 2),
        ([("length", 10, 1)], 1),
        ([("length", -10, 1)], 1),
        ([("redirect", "relative", 9)], 0),
        ([("redirect", "absolute", 9)], 0),
    ],
)
def test_what_goes_wrong_for_a_while(hub, home, pauses, faults, least_pause):
    entry = publish(hub)
    for action, value, times in faults:
        hub.fault("GET", FILES, action, value, times)
    assert client.download(entry)[0].read_bytes() == CONTENT
    assert files(home) == [f"weights/{cached(home, entry).name}"]
    assert max(pauses, default=0) == least_pause


def test_a_download_that_was_cut_goes_on_where_it_was(hub, home, pauses):
    entry = publish(hub)
    hub.fault("GET", FILES, "cut", 100_000, 1)
    assert client.download(entry)[1] == CONTENT
    first, second = ({key.lower(): text for key, text in r.headers.items()} for r in hub.requests("GET", FILES))
    assert "range" not in first and second["range"] == "bytes=100000-"


NOWHERE = "set HF_ENDPOINT to a mirror, or run `cifar-zoo download squeeze1 --tag zoo` where there is a network"


@pytest.mark.parametrize(
    "action, value, message, attempts",
    [
        ("close", None, f"cannot be fetched .*{NOWHERE}", 4),
        ("cut", 0, "cannot be fetched", 4),
        ("slow", 3, "cannot be fetched .*Timeout", 4),
        ("status", 401, r"cannot be accessed \(401\); set HF_TOKEN", 1),
        ("status", (403, {"X-Error-Code": "GatedRepo"}), r"cannot be accessed \(403\); set HF_TOKEN", 1),
        ("status", 403, r"cannot be accessed \(403\); set HF_TOKEN", 1),
        ("status", 404, r"is not there at commit [0-9a-f]{40} \(404\); upgrade cifar_zoo, or set HF_ENDP", 1),
        ("status", (404, {"X-Error-Code": "EntryNotFound"}), r"is not there at commit .* \(404\)", 1),
        ("status", (404, {"X-Error-Code": "RevisionNotFound"}), r"is not there at commit .* \(404\)", 1),
        ("status", (404, {"X-Error-Code": "RepoNotFound"}), r"cannot be accessed \(404\); set HF_TOKEN", 1),
        ("status", 429, r"too many requests \(429\)", 4),
        ("status", (429, {"Retry-After": "3600"}), r"too many requests \(429\)", 1),
        ("status", (429, {"Retry-After": "9" * 5000}), r"too many requests \(429\)", 4),
        ("status", 500, "cannot be fetched .*500", 4),
        ("status", 200, "is not the published file: the download has 0 bytes instead of 300,000", 4),
        ("status", 204, "cannot be fetched .*204", 1),
        ("status", (302, {"Location": "ftp://elsewhere/"}), "cannot be fetched .*ftp", 4),
        ("status", (302, {"Location": "/org/zoo/resolve/again"}), "cannot be fetched .*redirects", 4),
        ("flip", None, "is not the published file: the download has the SHA-256 .* another mirror", 4),
        ("length", -10, "is not the published file: the download has 299,990 bytes instead of 300,000", 4),
    ],
)
def test_what_stays_wrong_is_one_error_and_no_file(hub, home, pauses, monkeypatch, action, value, message, attempts):
    from huggingface_hub import constants

    if action == "slow":
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    entry = publish(hub)
    hub.fault("GET", FILES, action, value)
    with pytest.raises(CifarZooError, match=message) as error:
        client.download(entry)
    assert f"{entry.file} of {hub.url}/org/zoo" in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert len(hub.requests("GET", f"*{entry.file}")) == attempts
    assert sum(pauses) < 60
    assert files(home) == []
    hub.clear()
    assert client.download(entry)[1] == CONTENT


CHUNKED = {"Transfer-Encoding": "chunked"}
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize("status", [200, 206, 500])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Length": str(10**13)}, CHUNKED, GZIP, {**CHUNKED, **GZIP}],
    ids=lambda headers: "-".join(headers),
)
def test_a_body_without_end_is_read_up_to_the_size_of_the_file(hub, home, pauses, headers, status):
    """What else has been sent is in the buffers of the two sockets."""
    entry = publish(hub)
    hub.fault("GET", FILES, "endless", (status, headers))
    tracemalloc.start()
    with pytest.raises(CifarZooError, match="the download has more than 300,000 bytes|cannot be fetched .500"):
        client.download(entry)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert hub.sent < 4 * 16e6 and files(home) == []


@pytest.mark.parametrize("where, pause", [("headers", 0.05), ("body", 0.05)])
def test_a_server_that_sends_nearly_nothing_is_given_up(hub, home, pauses, monkeypatch, where, pause):
    """Although never long enough for a timeout between two bytes."""
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    entry = publish(hub)
    hub.fault("GET", FILES, "drip", (where, pause))
    start = time.monotonic()
    with pytest.raises(CifarZooError, match=r"cannot be fetched \(less than 300,000 bytes came in 0.5 seconds\)"):
        client.download(entry)
    assert time.monotonic() - start < 10 and files(home) == []


def test_a_slow_server_has_time_for_each_part(hub, home, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 2)
    monkeypatch.setattr(downloads, "PART", 2**14)
    entry = publish(hub)
    hub.fault("GET", FILES, "trickle", 0.2)
    assert client.download(entry)[1] == CONTENT  # after 4 seconds
    assert len(hub.log) == 1


async def in_a_notebook(entry):
    return client.download(entry)


def test_where_an_event_loop_is_running(hub, home):
    """As in a notebook; and that of a program is left alone."""
    assert asyncio.run(in_a_notebook(publish(hub)))[1] == CONTENT


@pytest.mark.parametrize(
    "url",
    [
        "huggingface.co", "ftp://host", "http://", "http://host:port", "http://host:99999", "http://[::1", "http://a b",
        "http://host\n", "https://host/?key=1", "https://host/#part", "http://h\u00f6st", "x" * 5000, "://", "http:///x",
        "http://user:secret@host:port", "http://user:sec/ret@host", "user:secret@host", "http://user:sec ret@host",
    ],
)  # fmt: skip
def test_a_malformed_endpoint(hub, home, monkeypatch, url):
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(CifarZooError, match="HF_ENDPOINT must be a URL such as https://huggingface.co, not ") as error:
        client.download(publish(hub))
    assert len(str(error.value)) < 300 and "\n" not in str(error.value) and "sec" not in str(error.value)


def test_a_password_in_the_endpoint_is_sent_and_never_shown(home, hub, pauses, monkeypatch, caplog):
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//user:s%C3%A9cret@"))
    entry = publish(hub)
    for action, value in [("status", 500), ("status", 404), ("flip", None), ("close", None)]:
        hub.fault("GET", FILES, action, value)
        with pytest.raises(CifarZooError) as caught:
            client.download(entry)
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert "cret" not in shown and f"{entry.file} of {hub.url}/org/zoo" in shown
        hub.clear()
    hub.fault("GET", FILES, "redirect", "absolute")
    client.download(entry)
    first, second = ({key.lower(): text for key, text in r.headers.items()} for r in hub.log)
    assert base64.b64decode(first["authorization"].removeprefix("Basic ")).decode() == "user:s\u00e9cret"
    assert "authorization" not in second  # another host learns no password


def test_a_token_with_impossible_characters_is_not_shown(hub, home, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret\x01more")
    with pytest.raises(CifarZooError, match="HF_TOKEN, .* has characters that no token has") as error:
        client.download(publish(hub))
    assert "secret" not in str(error.value) and hub.log == []


def test_another_file_of_the_same_size_or_not_is_refused(hub, home, pauses):
    entry = publish(hub)
    for other in (bytes(len(CONTENT)), CONTENT[:-1], CONTENT + b"0", b""):
        revision = hub.add("org/zoo", {entry.file: other})
        with pytest.raises(CifarZooError, match="is not the published file: the download has"):
            client.download(entry.model_copy(update=dict(revision=revision)))
        assert files(home) == []


def test_no_hub_at_all(hub, home, pauses, monkeypatch):
    entry = publish(hub)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/")
    with pytest.raises(
        CifarZooError, match=f"of http://127.0.0.1:{port}/org/zoo cannot be fetched .*Connect call failed.*{NOWHERE}"
    ):
        client.download(entry)
    assert pauses == [1, 2, 4] and files(home) == []


def test_a_private_repository(home, pauses, monkeypatch):
    with HubServer(token="hf_right") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        entry = publish(hub)
        for token in ("", "hf_wrong"):
            monkeypatch.setenv("HF_TOKEN", token)
            with pytest.raises(CifarZooError, match=r"cannot be accessed \(401\); set HF_TOKEN to a token with access"):
                client.download(entry)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        hub.clear()
        hub.fault("*", FILES, "redirect", "absolute")
        assert client.download(entry)[1] == CONTENT
        first, second = hub.log
        assert "hf_right" in str(first.headers) and "hf_right" not in str(
            second.headers
        )  # another host learns no token


@pytest.mark.parametrize("old", [CONTENT[:1000], bytes(len(CONTENT)), b"", CONTENT + b"0"])
def test_a_cached_file_that_is_not_right_is_replaced(hub, home, pauses, monkeypatch, old):
    entry = publish(hub)
    path = cached(home, entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(old)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CifarZooError, match=f"{path} has .* instead of .* HF_HUB_OFFLINE forbids a download; run"):
        client.download(entry)
    assert path.read_bytes() == old and hub.log == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.fault("GET", FILES, "status", 500)
    with pytest.raises(CifarZooError, match="cannot be fetched"):
        client.download(entry)
    assert path.read_bytes() == old
    hub.clear()
    assert client.download(entry)[0].read_bytes() == CONTENT


def test_a_folder_in_the_place_of_the_cached_file(hub, home):
    entry = publish(hub)
    path = cached(home, entry)
    path.mkdir(parents=True)
    (path / "note").touch()
    with pytest.raises(CifarZooError, match=f"{path} is a folder, and a file is kept there; remove the folder"):
        client.download(entry)
    assert hub.log == [] and files(home) == [f"weights/{path.name}/note"]


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path)]
)
def test_something_else_in_the_place_of_the_cached_file_is_replaced(hub, home, make):
    entry = publish(hub)
    path = cached(home, entry)
    path.parent.mkdir(parents=True)
    make(path)
    assert client.download(entry)[1] == CONTENT and path.read_bytes() == CONTENT and not path.is_symlink()


@pytest.mark.parametrize("others", [[], ["squeeze1"]])
def test_the_cache_is_cleared_or_removed_during_a_download(hub, home, others):
    """The file is there afterwards, whatever was removed meanwhile."""
    entry = publish(hub)
    for remove in (lambda: client.clear_cache(others), lambda: shutil.rmtree(home)):
        barrier = threading.Barrier(2)
        hub.fault("GET", FILES, "meet", barrier, times=1)
        done = []
        downloading = threading.Thread(target=lambda done=done: done.append(client.download(entry)[0]))
        downloading.start()
        while not hub.requests("GET", FILES):
            threading.Event().wait(0.01)
        remove()
        barrier.wait(60)
        downloading.join()
        assert done == [cached(home, entry)] and files(home) == [f"weights/{done[0].name}"]
        hub.clear()
        shutil.rmtree(home)


def test_clearing_removes_only_what_the_cache_has_written(hub, home, monkeypatch, tmp_path):
    """In a checkout, whose staged weights are in a folder of the same name, or any folder with other things."""
    entry = publish(hub)
    staged = tmp_path / "home" / "weights" / PUBLISHED.file
    staged.parent.mkdir(parents=True)
    for path in (
        staged,
        staged.with_name("golden.npz"),
        home / "weights" / "note",
        home / "weights" / "own.weights.h5",
    ):
        path.write_bytes(b"mine")
    (home / "weights" / "empty").mkdir()
    before = sorted(home.rglob("*"))
    path = client.download(entry)[0]
    left = [
        path.with_name(f".{path.name}.{end}")
        for end in ("lock", "host.999999999.x.tmp".replace("host", platform.node()))
    ]
    for file in left:
        file.touch()
    assert [file.path for file in client.cached_files()] == [path]
    assert client.clear_cache(["nin"]) == [] and path.exists()
    assert [file.path for file in client.clear_cache(["squeeze1"])] == [path]
    assert sorted(home.rglob("*")) == before
    assert client.clear_cache() == [] and sorted(home.rglob("*")) == before


def test_a_lock_that_is_never_released(hub, home, monkeypatch):
    """It only saves work, so that nobody waits for it for long."""
    from filelock import FileLock

    monkeypatch.setattr(client, "LOCK_PATIENCE", 0.3)
    entry = publish(hub)
    path = cached(home, entry)
    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock):
        assert client.download(entry)[1] == CONTENT
    shutil.rmtree(home)
    lock.mkdir(parents=True)
    assert client.download(entry)[1] == CONTENT


def test_offline_without_the_file(hub, home, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CifarZooError, match="is not there, and HF_HUB_OFFLINE forbids .* `cifar-zoo download squeeze1"):
        client.download(publish(hub))
    assert hub.log == [] and not home.exists()


def test_what_is_not_published_is_not_asked_for(hub, home):
    with pytest.raises(CifarZooError, match="is not published yet; `cifar-zoo fit squeeze1` trains such weights"):
        client.download(PUBLISHED.model_copy(update=dict(repository=None, revision=None)))
    assert hub.log == []


def test_a_cache_that_cannot_be_written(hub, home, monkeypatch, caplog, tmp_path):
    """One warning, and the file is there as long as the process."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIFAR_ZOO_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setattr(client.tempfile, "tempdir", str(tmp_path))
    entry = publish(hub)
    with caplog.at_level(logging.WARNING, client.__name__):
        path = client.download(entry)[0]
        assert client.download(entry)[0] == path and len(hub.requests("GET", FILES)) == 1
        other = publish(hub, b"other", PUBLISHED.model_copy(update=dict(file="nin0/zoo/nin0.zoo.weights.h5")))
        assert client.download(other)[0].read_bytes() == b"other"
    assert path.read_bytes() == CONTENT
    (record,) = (record for record in caplog.records if record.name == client.__name__)
    assert "file/home/weights cannot be written (Not a directory)" in record.getMessage()
    assert "set CIFAR_ZOO_HOME to another folder" in record.getMessage()


def test_neither_the_cache_nor_another_folder_can_be_written(hub, home, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIFAR_ZOO_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setattr(client.tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(CifarZooError, match="cannot be kept below .*; make room for 0.3 MB, or set CIFAR_ZOO_HOME"):
        client.download(publish(hub))


# As processes of an installed package, to which no file comes but from the hub.


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package as in a wheel, but without weights."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "cifar_zoo", folder / "cifar_zoo", ignore=shutil.ignore_patterns("__pycache__", "bundled"))
    return folder


@pytest.fixture
def process(hub, home, site):
    """`process("download", "squeeze1")`: the command, started beside a hub that has two networks."""
    entries = {}
    for name in ("squeeze1", "resnet20"):
        entry = read_manifest()[name]["zoo"]
        entries[name] = {"zoo": publish(hub, (ROOT / "weights" / entry.file).read_bytes(), entry)}
    entries["nin0"] = {
        "zoo": entry.model_copy(
            update=dict(repository=None, revision=None, file="nin0/zoo/nin0.zoo.weights.h5", command="fit it so")
        )
    }
    write_manifest(entries, site / "cifar_zoo" / "weights_manifest.json")

    def start(*arguments, code=None, **environment):
        program = ["-c", code] if code else ["-m", "cifar_zoo", *map(str, arguments)]
        options = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, *program], cwd=site, env={**os.environ, **environment}, **options)

    return start


def finish(process, code=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


def weights_of(name):
    return (ROOT / "weights" / read_manifest()[name]["zoo"].file).read_bytes()


def test_the_command(hub, home, process):
    path = cached(home)
    out, err = finish(process("download", "squeeze1"))
    assert out == f"squeeze1: {path} ({PUBLISHED.bytes:,} bytes)\n" and err == ""
    assert path.read_bytes() == weights_of("squeeze1")
    rows = json.loads(finish(process("download", "--all", "--json"))[0])
    assert [row["name"] for row in rows] == ["resnet20", "squeeze1"]
    assert all(row["sha256"] == hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest() for row in rows)
    assert len(hub.requests("GET", FILES)) == 2
    for arguments, message in [
        (["squeeze2"], "there is no network 'squeeze2'; did you mean squeeze"),
        (["squeeze1", "--tag", "other"], "squeeze1 has no weights 'other'; there are 'cifar10' and 'zoo'"),
        (["resnet32"], "no published weights yet; `cifar-zoo fit resnet32` trains some. The nearest network that has"),
        (["nin0"], "`cifar-zoo download nin0 --from FOLDER` takes them from weights/ of a checkout"),
        (["nin0"], "and `fit it so` trains some. The nearest network that has is resnet20"),
        ([], "name the networks, or give --all"),
        (["squeeze1", "--all"], "name the networks, or give --all"),
    ]:  # fmt: skip
        out, err = finish(process("download", *arguments), code=2)
        assert out == "" and err.startswith("cifar-zoo: ") and message in err and err.count("\n") == 1


def test_from_a_folder(hub, home, process, tmp_path):
    """From weights/ of a checkout, its root, or a folder with files alone; the hub is not asked."""
    entry = read_manifest()["squeeze1"]["zoo"]
    path = cached(home)
    flat, damaged, empty = (tmp_path / name for name in ("flat", "damaged", "empty"))
    for folder in (flat, damaged, empty):
        folder.mkdir()
    shutil.copy(ROOT / "weights" / entry.file, flat)
    content = bytearray(weights_of("squeeze1"))
    content[-1] ^= 1
    (damaged / Path(entry.file).name).write_bytes(content)
    beside = tmp_path / "beside"
    shutil.copytree(ROOT / "weights" / "squeeze1", beside / "squeeze1")
    (beside / "squeeze1" / "zoo" / "history.csv").write_text("epoch,loss\n1,0\n")
    for folder, message in [
        (damaged, "is not the published file: it has the SHA-256"),
        (beside, "squeeze1/zoo: history.csv beside the weights is not the published file"),
        (empty, f"has no {entry.file}; name a folder that has"),
        (tmp_path / "absent", f"has no {entry.file}; name a folder that has"),
    ]:
        out, err = finish(process("download", "squeeze1", "--from", folder), code=2)
        assert out == "" and str(folder) in err and message in err and err.count("\n") == 1 and not path.exists()
    for folder in (flat, ROOT, ROOT / "weights"):
        out, _ = finish(process("download", "squeeze1", "--from", folder))
        assert out == f"squeeze1: {path} ({entry.bytes:,} bytes)\n" and path.read_bytes() == weights_of("squeeze1")
        shutil.rmtree(home)
    rows = json.loads(finish(process("download", "--all", "--from", ROOT, "--json"))[0])
    assert [row["name"] for row in rows] == ["resnet20", "squeeze1"]
    _, err = finish(process("download", "--all", "--from", empty), code=2)
    assert f"'{empty}' has no weights 'cifar10'; `--from FOLDER` copies them from weights/ of a checkout" in err
    assert hub.log == []
    code = "import cifar_zoo; cifar_zoo.models.squeeze1(weights='cifar10')"
    finish(process(code=code, HF_HUB_OFFLINE="1"))


@pytest.mark.parametrize(
    "folder", ["/dev/null", "/proc/self/mem", "x" * 5000, "a/" * 5000, "with\nlines\x1b[31m", "\0", "~nosuchuser"]
)
def test_what_is_no_folder_with_files(home, folder):
    with pytest.raises(CifarZooError, match="has no squeeze1/zoo/.*; name a folder that has") as error:
        client.copy_to_cache(PUBLISHED, Path(folder))
    assert len(str(error.value)) < 500 and str(error.value).isprintable() and not home.exists()


def test_what_is_no_file_in_a_folder(home, tmp_path, monkeypatch):
    """Pipes and devices are not opened, and a file that does not end is not read."""
    path = tmp_path / PUBLISHED.file
    path.parent.mkdir(parents=True)
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()):
        make(path)
        with pytest.raises(CifarZooError, match="has no squeeze1/zoo/"):
            client.copy_to_cache(PUBLISHED, tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(CifarZooError, match="is not the published file: it has 1,000,000,000,000 bytes instead of"):
        client.copy_to_cache(PUBLISHED, tmp_path)


def test_a_progress_bar_on_a_terminal(hub, process, site):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    shown = b""
    started = subprocess.Popen(
        [sys.executable, "-m", "cifar_zoo", "download", "squeeze1"], cwd=site, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert started.wait(60) == 0
    assert "100%" in shown.decode() and "squeeze1.zoo.weights.h5" in shown.decode()


def test_the_cache_command(home, process):
    assert finish(process("cache"))[0] == f"{0:12,}  bytes in 0 files of {home / 'weights'}\n"
    finish(process("download", "--all"))
    path, other = cached(home), cached(home, read_manifest()["resnet20"]["zoo"])
    old = path.with_name("squeeze1.zoo-0123456789abcdef.weights.h5")
    old.write_bytes(b"of another version")
    path.write_bytes(b"half")
    rows = json.loads(finish(process("cache", "--json"))[0])
    assert {Path(row["path"]): row["problem"] for row in rows} == {
        old: "is not in the manifest",
        other: None,
        path: f"has 4 bytes instead of {PUBLISHED.bytes:,}",
    }
    lines = finish(process("cache"))[0].splitlines()
    assert len(lines) == 4 and lines[0].endswith(f"{other}  ok") and "3 files" in lines[3]
    assert len(finish(process("cache", "resnet20"))[0].splitlines()) == 2
    out, _ = finish(process("cache", "--clear", "squeeze1"))
    assert "2 files removed" in out and files(home) == [f"weights/{other.name}"]
    assert "there is no network" in finish(process("cache", "--clear", ".."), code=2)[1]
    finish(process("cache", "--clear"))
    assert files(home) == []


WARM = """
import sys
def refuse(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(refuse)
from cifar_zoo.weights.store import find_entry, locate
print(locate(find_entry("squeeze1", "cifar10")))
print(sorted({"huggingface_hub", "keras"} & set(sys.modules)))
"""


@pytest.mark.parametrize("offline", ["1", "0"])
def test_a_warm_cache_needs_no_network_and_no_client(hub, home, process, offline):
    finish(process("download", "squeeze1"))
    hub.clear()
    out, err = finish(process(code=WARM, HF_HUB_OFFLINE=offline))
    assert out.splitlines() == [str(cached(home)), "[]"] and err == ""
    assert hub.log == []


def test_offline_and_cold(hub, process):
    _, err = finish(process("download", "squeeze1", HF_HUB_OFFLINE="1"), code=2)
    assert "HF_HUB_OFFLINE forbids a download" in err and err.count("\n") == 1 and hub.log == []


def test_two_processes_at_once(hub, home, process):
    """One downloads the file, and the other one waits for it."""
    hub.fault("GET", FILES, "slow", 2)
    for started in [process("download", "squeeze1") for _ in range(2)]:
        finish(started)
    assert len(hub.requests("GET", FILES)) == 1
    assert files(home) == [f"weights/{cached(home).name}"]
    assert cached(home).read_bytes() == weights_of("squeeze1")


def test_a_killed_download_leaves_nothing_that_is_believed(hub, home, process):
    hub.fault("GET", FILES, "trickle", 0.5, times=1)
    started = process("download", "squeeze1")
    while not hub.requests("GET", FILES):
        assert started.poll() is None
        threading.Event().wait(0.02)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    path = cached(home)
    assert not path.exists()
    _, err = finish(process("download", "squeeze1", HF_HUB_OFFLINE="1"), code=2)
    assert "is not there" in err
    finish(process("download", "squeeze1"))
    assert path.read_bytes() == weights_of("squeeze1") and files(home) == [f"weights/{path.name}"]


@pytest.mark.full
def test_downloads_that_are_killed_at_any_moment(hub, home, process):
    """The file is whole or absent, beside at most a lock and a temporary file, which the next one removes."""
    path = cached(home)
    hub.fault("GET", FILES, "trickle", 0.02)
    start = time.monotonic()
    finish(process("download", "squeeze1"))
    duration = time.monotonic() - start
    for moment in range(20):
        shutil.rmtree(home, ignore_errors=True)
        started = process("download", "squeeze1")
        threading.Event().wait(duration * (moment + 1) / 20)
        started.send_signal(signal.SIGKILL)
        started.communicate()
        found = files(home)
        assert all(name.startswith((f"weights/{path.name}", f"weights/.{path.name}.")) for name in found)
        assert not path.exists() or path.read_bytes() == weights_of("squeeze1")
        finish(process("cache", "--clear"))
        assert files(home) == []
    finish(process("download", "squeeze1"))
    assert files(home) == [f"weights/{path.name}"]


@pytest.mark.parametrize("value", ["soon", "1.5", "-3", "1e3"])
def test_a_malformed_timeout(hub, process, value):
    out, err = finish(process("download", "squeeze1", HF_HUB_DOWNLOAD_TIMEOUT=value), code=2)
    assert out == "" and err.count("\n") == 1 and f"correct HF_HUB_DOWNLOAD_TIMEOUT={value!r}" in err and hub.log == []


def test_an_interrupted_download(hub, home, process):
    """At once, although the server does not answer."""
    hub.fault("GET", FILES, "slow", 8)
    started = process("download", "squeeze1")
    while not hub.requests("GET", FILES):
        assert started.poll() is None
        threading.Event().wait(0.02)
    started.send_signal(signal.SIGINT)
    start = time.monotonic()
    finish(started, code=130)
    assert time.monotonic() - start < 5 and files(home) == []


def mounted(hub, process_site, script):
    """Run a shell script that may mount file systems of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", textwrap.dedent(script)], cwd=process_site, capture_output=True, text=True
    )
    if "unshare:" in done.stderr or done.returncode == 99:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    return done


def test_a_full_disk(hub, home, process, site):
    """A file system with too little room, and then with enough."""
    home.mkdir()
    done = mounted(
        hub,
        site,
        f"""
        mount -t tmpfs -o size=200k none {home} || exit 99
        {sys.executable} -m cifar_zoo download squeeze1; echo code $?; find {home} -type f
        mount -o remount,size=10m {home}
        {sys.executable} -m cifar_zoo download squeeze1; sha256sum {cached(home)}
        """,
    )
    code, line, digest = done.stdout.splitlines()
    assert code == "code 2" and line.startswith("squeeze1: ") and digest.split()[0] == PUBLISHED.sha256
    (message,) = done.stderr.splitlines()
    assert message.startswith("cifar-zoo: ") and "No space left on device; make room for 0.4 MB" in message


def test_a_read_only_file_system(hub, home, process, site):
    home.mkdir()
    done = mounted(
        hub,
        site,
        f"""
        mount -t tmpfs -o ro none {home} || exit 99
        {sys.executable} -m cifar_zoo download squeeze1
        """,
    )
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert f"{home}/weights cannot be written (Read-only file system)" in warning
    path = Path(done.stdout.removeprefix("squeeze1: ").split(" (")[0])
    assert path.name == cached(home).name and not path.exists()  # it went with the process


@pytest.mark.full
def test_the_other_major_version_of_the_client(hub, home, process, site, tmp_path):
    """The faults above, with huggingface_hub 1."""
    target = tmp_path / "one"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "huggingface_hub==1.30.*"]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install it: {done.stderr}")
    version = "import huggingface_hub as h, httpx; print(h.__version__, h.__file__)"
    number, file = finish(process(code=version, PYTHONPATH=str(target)))[0].split()
    assert number.startswith("1.") and file.startswith(str(target))
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--numprocesses", "0", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stdout
