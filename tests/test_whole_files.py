"""Files are written atomically: they are complete or absent."""

import pytest

from cifar_zoo.files import check_room, write_json, write_whole


def names(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_the_old_file_is_replaced_or_kept_under_another_name(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("one", "two", "three"):
        write_whole(path, lambda file, text=text: file.write_text(text), before=tmp_path / "a-before.txt")
    assert names(tmp_path) == {"a.txt": "three", "a-before.txt": "two"}
    write_whole(path, lambda file: file.write_text("four"))
    assert names(tmp_path) == {"a.txt": "four", "a-before.txt": "two"}


@pytest.mark.parametrize("error", [OSError(28, "as a library puts it"), OSError("unknown"), ValueError("no")])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, error):
    def fail(file):
        file.write_text("half")
        raise error

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as caught:
        write_whole(path, fail, before=tmp_path / "before.txt")
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
