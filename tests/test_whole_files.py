"""Files are written atomically: they are complete or absent."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cifar_zoo import CifarZooError, files, load_cifar10
from cifar_zoo.data.images import read_image
from cifar_zoo.files import (
    check_room,
    finish_replacing,
    open_file,
    read_file,
    read_json,
    replace_together,
    write_atomically,
    write_json,
)

ROOT = Path(__file__).resolve().parent.parent


def names(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_the_old_file_is_replaced_or_kept_under_another_name(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("one", "two", "three"):
        write_atomically(path, lambda file, text=text: file.write_text(text), before=tmp_path / "a-before.txt")
    assert names(tmp_path) == {"a.txt": "three", "a-before.txt": "two"}
    write_atomically(path, lambda file: file.write_text("four"))
    assert names(tmp_path) == {"a.txt": "four", "a-before.txt": "two"}


@pytest.mark.parametrize("error", [OSError(28, "as a library puts it"), OSError("unknown"), ValueError("no")])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, error):
    def fail(file):
        file.write_text("half")
        raise error

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as caught:
        write_atomically(path, fail, before=tmp_path / "before.txt")
    assert names(tmp_path) == {"a.txt": "old"}
    if error.args[0] == 28:
        assert str(caught.value) == f"[Errno 28] No space left on device: '{path}'"


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent/config.json"):
        write_json(tmp_path / "absent" / "config.json", {})
    with pytest.raises(OSError, match=r"and 2.0 MB are needed: '.*absent'"):
        check_room(tmp_path / "absent", 2_000_000)


def test_looking_for_room_leaves_nothing(tmp_path):
    check_room(tmp_path, 2_500_000)
    assert names(tmp_path) == {}


def test_looking_for_room_writes_nothing_and_finds_a_full_disk(tmp_path):
    start = time.perf_counter()
    check_room(tmp_path, shutil.disk_usage(tmp_path).free // 2)
    assert time.perf_counter() - start < 0.1
    with pytest.raises(OSError, match=r"No space left on device, and \d+\.0 MB are needed: ") as caught:
        check_room(tmp_path, 10**18)
    assert caught.value.errno == 28


def test_the_permissions_are_those_of_any_new_file(tmp_path):
    write_atomically(tmp_path / "ours", lambda file: file.write_text("?"))
    (tmp_path / "plain").write_text("?")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


WRITER = """
import sys
from pathlib import Path
from cifar_zoo.files import write_atomically
for _ in range(60):
    write_atomically(Path(sys.argv[1]), lambda file: file.write_text(sys.argv[2] * 20_000))
"""


def test_any_number_of_processes_write_one_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0" * 20_000)
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, digit], cwd=ROOT, stderr=subprocess.PIPE) for digit in "1234"]
    while any(writer.poll() is None for writer in writers):
        text = path.read_text()
        assert len(text) == 20_000 and len(set(text)) == 1
    assert [(writer.returncode, writer.communicate()[1]) for writer in writers] == [(0, b"")] * 4
    assert names(tmp_path).keys() == {"a.txt"}


def test_any_number_of_threads_write_one_file(tmp_path):
    """The file before the newest is complete, too."""
    path, before = tmp_path / "a.txt", tmp_path / "before.txt"
    errors = []

    def write(digit):
        try:
            for _ in range(40):
                write_atomically(path, lambda file: file.write_text(digit * 20_000), before=before)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(digit,)) for digit in "12345678"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = names(tmp_path)
    assert found.keys() == {"a.txt", "before.txt"}
    assert all(len(text) == 20_000 and len(set(text)) == 1 for text in found.values())


def test_a_link_at_the_name_of_a_temporary_file_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "outside.txt").write_text("untouched")
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "known")
    names_of_old = [".a.txt.partial", f".a.txt.{files.platform.node()}.{os.getpid()}.known.tmp"]
    for name in names_of_old:
        (folder / name).symlink_to(tmp_path / "outside.txt")
    with pytest.raises(FileExistsError, match="a.txt"):
        write_atomically(folder / "a.txt", lambda file: file.write_text("ours"))
    assert names(tmp_path) == {"outside.txt": "untouched"} and not (folder / "a.txt").exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted(names_of_old)  # not ours to remove


KILLED = """
import os, signal, sys
from pathlib import Path
from cifar_zoo.files import write_atomically
def write(file):
    file.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), write)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_killed_writer_leaves_the_old_file_and_one_temporary_file_for_a_while(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT).returncode == -9
        found = names(tmp_path)
        assert found.pop("a.txt") == "old" and list(found.values()) == ["half"]
    write_atomically(path, lambda file: file.write_text("new"))
    assert names(tmp_path) == {"a.txt": "new"}


def test_temporary_files_of_other_machines_go_after_an_hour(tmp_path):
    old, new, foreign = (tmp_path / f".a.txt.{rest}.tmp" for rest in ("other.org.1.x", "other.org.2.x", "note"))
    for file in (old, new, foreign):
        file.write_text("half")
    os.utime(old, (time.time() - 4000,) * 2)
    os.utime(foreign, (time.time() - 4000,) * 2)
    write_atomically(tmp_path / "a.txt", lambda file: file.write_text("new"))
    assert names(tmp_path).keys() == {"a.txt", new.name, foreign.name}


def test_a_file_that_somebody_names_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a.bin")
    for path in (str(tmp_path / "a.bin"), tmp_path / "link", "~/a.bin"):
        assert read_file(path, 5) == b"12345"
        with open_file(path) as file:
            assert file.read() == b"12345"


@pytest.mark.parametrize(
    "path, message",
    [
        ("absent", "there is no file 'absent'"),
        ("folder", "'folder' is a folder, where a file was expected"),
        ("pipe", "'pipe' is not a regular file, where a file was expected"),
        ("empty", "'empty' is empty"),
        ("large", "'large' is larger than 1.0 MB, the most that such a file can need"),
        ("large/file", "'large/file' is not a usable path .Not a directory"),
        ("loop", "'loop' is not a usable path .Too many levels of symbolic links"),
        ("/dev/zero", "'/dev/zero' is not a regular file"),
        ("/proc/self/mem", "'/proc/self/mem' is empty"),
        ("~nosuchuser/file", "'~nosuchuser/file' is not a usable path .Could not determine home directory"),
        ("a\0b", "is not a usable path .embedded null byte"),
        ("x" * 5000, r"'x{57}\.\.\.x{58}' is not a usable path .File name too long"),
    ],
)
def test_what_is_no_such_file_is_refused_at_once(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty").touch()
    Path("large").write_bytes(bytes(1_000_001))
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    for read in (read_file, open_file):
        with pytest.raises(CifarZooError, match=message):
            read(path, 1_000_000)


@pytest.mark.parametrize("read", [read_json, load_cifar10, read_image], ids=lambda read: read.__name__)
@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "/proc/self/mem", "/proc/kmsg", "~nosuchuser/file", "x" * 5000])
def test_functions_that_read_a_named_file_refuse_what_is_none(tmp_path, monkeypatch, read, path):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(CifarZooError):
        read(path)


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from cifar_zoo.files import replace_together
folder, moment = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def watch(event, arguments):
    global count
    if event in {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "glob.glob"}:
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
contents = {folder / name: b"new" for name in ("a.txt", "b/c.txt", "new/folder/d.txt")}
sys.addaudithook(watch)
replace_together(folder / ".journal", contents)
"""
OLD = {"a.txt": b"old", "b/c.txt": b"old"}
NEW = {"a.txt": b"new", "b/c.txt": b"new", "new/folder/d.txt": b"new"}


def tree(folder):
    """All files and empty folders, hidden ones as well."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
@pytest.mark.parametrize("first", range(4))
def test_files_that_are_replaced_together_are_all_old_or_all_new_after_a_kill_at_any_moment(tmp_path, request, first):
    """At every file operation with --full, otherwise at some of them."""
    found = []
    for moment in range(first, 1000, 4 if request.config.option.full else 12):
        folder = tmp_path / str(moment)
        (folder / "b").mkdir(parents=True)
        for name, content in OLD.items():
            (folder / name).write_bytes(content)
        killed = subprocess.run([sys.executable, "-c", KILLED_AT, folder, str(moment)], cwd=ROOT, capture_output=True)
        before = tree(folder)
        finish_replacing(folder / ".journal")
        after = {name: content for name, content in tree(folder).items() if not name.endswith(".tmp")}
        assert after in (OLD, NEW), moment
        if killed.returncode == 0:
            assert before == after == NEW
            break
        assert killed.returncode == -9, killed.stderr
        found.append(after == NEW)
        assert all(before[name] in (b"old", b"new") for name in OLD)
        replace_together(folder / ".journal", {folder / name: content for name, content in NEW.items()})
        assert tree(folder) == NEW
    assert killed.returncode == 0 and found == sorted(found) and (len(set(found)) == 2 or len(found) < 4)


def test_files_that_cannot_be_replaced_together_are_the_old_ones(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "file").write_text("?")
    with pytest.raises(ValueError, match="the folder .*file/b' cannot be created"):
        replace_together(tmp_path / ".journal", {tmp_path / "a.txt": b"new", tmp_path / "file" / "b" / "c": b"new"})
    assert tree(tmp_path) == {"a.txt": b"old", "file": b"?"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"complete": 1, "files": 3, "folders": []}',
                                  '{"complete": 1, "files": [3], "folders": []}'])  # fmt: skip
def test_a_damaged_journal_is_refused(tmp_path, text):
    (tmp_path / ".journal").write_text(text)
    with pytest.raises(ValueError, match="^.*/.journal: "):
        finish_replacing(tmp_path / ".journal")
