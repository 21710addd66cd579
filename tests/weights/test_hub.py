"""Downloads with huggingface_hub from a local server that simulates the failures of a hub."""

import hashlib
import json
import logging
import os
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
from pathlib import Path

import pytest
from hub_server import HubServer

from cifar_zoo import CifarZooError
from cifar_zoo.weights import hub as client
from cifar_zoo.weights.manifest import read_manifest, write_manifest

ROOT = Path(__file__).resolve().parents[2]
CONTENT = random.Random(0).randbytes(300_000)
FILES = "/org/zoo/resolve/*"  # the client asks for other things, too: about the program that it runs in
PUBLISHED = read_manifest()["squeeze1"]["zoo"]


def publish(hub, content=CONTENT, entry=PUBLISHED):
    """An entry with some content that is on a hub."""
    revision = hub.add("org/zoo", {entry.file: content})
    digest = hashlib.sha256(content).hexdigest()
    return entry.model_copy(update=dict(repository="org/zoo", revision=revision, bytes=len(content), sha256=digest))


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


def test_a_download_asks_twice_and_the_cache_not_at_all(hub, home):
    entry = publish(hub)
    path = client.download(entry)
    assert path == home / "weights" / entry.file and path.read_bytes() == CONTENT
    asked = [(request.method, request.path) for request in hub.requests("*", FILES)]
    assert asked == [(method, f"/org/zoo/resolve/{entry.revision}/{entry.file}") for method in ("HEAD", "GET")]
    assert files(home) == [f"weights/{entry.file}"]
    assert path.stat().st_mode & 0o444 == 0o444
    hub.clear()
    assert client.download(entry) == path and hub.log == []


@pytest.mark.parametrize(
    "faults, least_pause",
    [
        ([("GET", "cut", 100_000, 1)], 0),
        ([("GET", "cut", 100_000, 2)], 0),
        ([("GET", "close", None, 1)], 0),
        ([("HEAD", "close", None, 1)], 0),
        ([("*", "slow", 0.2, 2)], 0),
        ([("GET", "trickle", 0.005, 1)], 0),
        ([("HEAD", "status", (429, {"Retry-After": "7"}), 1)], 7),
        ([("GET", "status", (429, {"Retry-After": "7"}), 1)], 7),
        ([("HEAD", "status", 500, 2)], 2),
        ([("GET", "status", 503, 3)], 4),
        ([("HEAD", "status", 500, 1), ("GET", "cut", 5, 1), ("GET", "flip", None, 1)], 2),
        ([("GET", "flip", None, 2)], 2),
        ([("HEAD", "length", 10, 1)], 1),
        ([("HEAD", "length", -10, 1)], 1),
        ([("GET", "length", 10, 1)], 0),
        ([("GET", "length", -10, 1)], 1),
        ([("HEAD", "redirect", "relative", 9)], 0),
        ([("HEAD", "redirect", "absolute", 9)], 0),
        ([("*", "redirect", "absolute", 9)], 0),
    ],
)
def test_what_goes_wrong_for_a_while(hub, home, pauses, faults, least_pause):
    entry = publish(hub)
    for method, action, value, times in faults:
        hub.fault(method, FILES, action, value, times)
    assert client.download(entry).read_bytes() == CONTENT
    assert files(home) == [f"weights/{entry.file}"]
    assert max(pauses, default=0) >= least_pause


def test_a_download_that_was_cut_goes_on_where_it_was(hub, home, pauses, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what has come of a larger chunk is lost
    entry = publish(hub)
    hub.fault("GET", FILES, "cut", 100_000, 1)
    assert client.download(entry).read_bytes() == CONTENT
    first, second = (
        {key.lower(): text for key, text in request.headers.items()} for request in hub.requests("GET", FILES)
    )
    assert "range" not in first and second["range"] == "bytes=100000-"


NOWHERE = "set HF_ENDPOINT to a mirror, or run `cifar-zoo download squeeze1 --tag zoo` where there is a network"


@pytest.mark.parametrize(
    "method, action, value, message, attempts",
    [
        ("HEAD", "close", None, f"cannot be fetched .*{NOWHERE}", 4),
        ("GET", "close", None, f"cannot be fetched .*{NOWHERE}", 4),
        ("GET", "cut", 0, "cannot be fetched", 4),
        ("*", "slow", 0.5, "cannot be fetched .*timed out", 4),
        ("HEAD", "status", 401, r"cannot be accessed \(401\); set HF_TOKEN", 1),
        ("HEAD", "status", (403, {"X-Error-Code": "GatedRepo"}), r"cannot be accessed \(403\); set HF_TOKEN", 1),
        ("GET", "status", 403, r"cannot be accessed \(403\); set HF_TOKEN", 1),
        ("HEAD", "status", 404, r"is not there at commit [0-9a-f]{40} \(404\); upgrade cifar_zoo, or set HF_ENDP", 1),
        ("HEAD", "status", (404, {"X-Error-Code": "EntryNotFound"}), r"is not there at commit .* \(404\)", 1),
        ("HEAD", "status", (404, {"X-Error-Code": "RevisionNotFound"}), r"is not there at commit .* \(404\)", 1),
        ("HEAD", "status", (404, {"X-Error-Code": "RepoNotFound"}), r"cannot be accessed \(404\); set HF_TOKEN", 1),
        ("HEAD", "status", 429, r"too many requests \(429\)", 4),
        ("HEAD", "status", (429, {"Retry-After": "3600"}), r"too many requests \(429\)", 1),
        ("HEAD", "status", 500, "cannot be fetched .*500", 4),
        ("GET", "status", 500, "cannot be fetched .*500", 4),
        ("HEAD", "status", 200, "cannot be fetched .*does not seem to be", 4),
        ("GET", "flip", None, "is not the published file: the download has the SHA-256 .* another mirror", 4),
        ("HEAD", "length", 10, "cannot be fetched .*300010 but has size 300000", 4),
        ("GET", "length", -10, "cannot be fetched .*size 300000 but has size 299990", 4),
    ],
)
def test_what_stays_wrong_is_one_error_and_no_file(
    hub, home, pauses, monkeypatch, method, action, value, message, attempts
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    entry = publish(hub)
    hub.fault(method, FILES, action, value)
    with pytest.raises(CifarZooError, match=message) as error:
        client.download(entry)
    assert f"{entry.file} of {hub.url}/org/zoo" in str(error.value) and "\n" not in str(error.value)
    assert len(hub.requests("HEAD", FILES)) == attempts
    assert sum(pauses) < 60
    assert files(home) == []
    hub.clear()
    assert client.download(entry).read_bytes() == CONTENT


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
        CifarZooError, match=f"of http://127.0.0.1:{port}/org/zoo cannot be fetched .*refused.*{NOWHERE}"
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
        assert client.download(entry).read_bytes() == CONTENT
        (head,), (get,) = (hub.requests(method, f"*{FILES}") for method in ("HEAD", "GET"))
        assert "hf_right" in str(head.headers) and "hf_right" not in str(get.headers)  # another host learns no token


@pytest.mark.parametrize("old", [CONTENT[:1000], bytes(len(CONTENT)), b"", CONTENT + b"0"])
def test_a_cached_file_that_is_not_right_is_replaced(hub, home, pauses, monkeypatch, old):
    entry = publish(hub)
    path = home / "weights" / entry.file
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
    assert client.download(entry).read_bytes() == CONTENT


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
        path = client.download(entry)
        assert client.download(entry) == path and len(hub.requests("GET", FILES)) == 1
        other = publish(hub, b"other", PUBLISHED.model_copy(update=dict(file="nin0/zoo/nin0.zoo.weights.h5")))
        assert client.download(other).read_bytes() == b"other"
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


def test_what_a_killed_process_left_goes_after_a_day(hub, home):
    entry = publish(hub)
    folder = (home / "weights" / entry.file).parent
    old, new = folder / ".download-old", folder / ".download-new"
    for scratch in (old, new):
        scratch.mkdir(parents=True)
        (scratch / "half").write_bytes(CONTENT[:9])
    os.utime(old, (time.time() - 90_000,) * 2)
    client.download(entry)
    assert not old.exists() and new.exists()


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
    path = home / "weights" / PUBLISHED.file
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
    path = home / "weights" / entry.file
    flat, damaged, empty = (tmp_path / name for name in ("flat", "damaged", "empty"))
    for folder in (flat, damaged, empty):
        folder.mkdir()
    shutil.copy(ROOT / "weights" / entry.file, flat)
    content = bytearray(weights_of("squeeze1"))
    content[-1] ^= 1
    (damaged / path.name).write_bytes(content)
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
    assert f"{empty} has no weights 'cifar10'; `--from FOLDER` copies them from weights/ of a checkout" in err
    assert hub.log == []
    code = "import cifar_zoo; cifar_zoo.models.squeeze1(weights='cifar10')"
    finish(process(code=code, HF_HUB_OFFLINE="1"))


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
    (home / "weights" / "left").write_bytes(b"left")
    path = home / "weights" / PUBLISHED.file
    path.write_bytes(b"half")
    rows = json.loads(finish(process("cache", "--json"))[0])
    assert {Path(row["path"]).name: row["problem"] for row in rows} == {
        "left": "is not in the manifest",
        "resnet20.zoo.weights.h5": None,
        "squeeze1.zoo.weights.h5": f"has 4 bytes instead of {PUBLISHED.bytes:,}",
    }
    lines = finish(process("cache"))[0].splitlines()
    assert len(lines) == 4 and lines[1].endswith("resnet20.zoo.weights.h5  ok") and "3 files" in lines[3]
    assert len(finish(process("cache", "resnet20"))[0].splitlines()) == 2
    out, _ = finish(process("cache", "--clear", "squeeze1"))
    assert "1 files removed" in out and not path.exists()
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
    assert out.splitlines() == [str(home / "weights" / PUBLISHED.file), "[]"] and err == ""
    assert hub.log == []


def test_offline_and_cold(hub, process):
    _, err = finish(process("download", "squeeze1", HF_HUB_OFFLINE="1"), code=2)
    assert "HF_HUB_OFFLINE forbids a download" in err and err.count("\n") == 1 and hub.log == []


def test_two_processes_at_once(hub, home, process):
    hub.fault("GET", FILES, "meet", threading.Barrier(2))
    for started in [process("download", "squeeze1") for _ in range(2)]:
        finish(started)
    assert len(hub.requests("GET", FILES)) == 2
    assert files(home) == [f"weights/{PUBLISHED.file}"]
    assert (home / "weights" / PUBLISHED.file).read_bytes() == weights_of("squeeze1")


def test_a_killed_download_leaves_nothing_that_is_believed(hub, home, process):
    hub.fault("GET", FILES, "trickle", 0.5, times=1)
    started = process("download", "squeeze1")
    while not hub.requests("GET", FILES) or not list(home.rglob("*.incomplete")):
        assert started.poll() is None
        threading.Event().wait(0.02)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    path = home / "weights" / PUBLISHED.file
    assert not path.exists()
    _, err = finish(process("download", "squeeze1", HF_HUB_OFFLINE="1"), code=2)
    assert "is not there" in err
    finish(process("download", "squeeze1"))
    assert path.read_bytes() == weights_of("squeeze1")


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
        {sys.executable} -m cifar_zoo download squeeze1; sha256sum {home}/weights/{PUBLISHED.file}
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
    assert path.name == Path(PUBLISHED.file).name and not path.exists()  # it went with the process


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
