"""Loading folders of images."""

import os

import numpy as np
import pytest
from PIL import Image

from cifar_zoo import CifarZooError
from cifar_zoo.data.folder import load_folder


def save(path, color, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (40, 50), color).save(path)


def test_classes_and_images_come_sorted(tmp_path):
    save(tmp_path / "zebra" / "b.png", (30, 0, 0))
    save(tmp_path / "zebra" / "a.webp", (0, 0, 0))
    save(tmp_path / "ant" / "1.png", 40_000, "I;16")
    save(tmp_path / "ant" / "2.PNG", (0, 0, 0, 0), "RGBA")
    save(tmp_path / "ant" / "3.tiff", 77, "L")
    images, labels, names = load_folder(str(tmp_path))
    assert names == ["ant", "zebra"]
    assert labels.tolist() == [0, 0, 0, 1, 1] and labels.dtype == np.int64
    assert images.shape == (5, 32, 32, 3) and images.dtype == np.uint8
    assert images[:, 16, 16].tolist() == [[155] * 3, [255] * 3, [77] * 3, [0] * 3, [30, 0, 0]]


def test_loose_files_and_what_systems_leave_behind_are_ignored(tmp_path, caplog):
    save(tmp_path / "ant" / "1.png", (1, 2, 3))
    save(tmp_path / "bee" / "1.png", (1, 2, 3))
    for name in ("ant/.DS_Store", "ant/Thumbs.db", "ant/desktop.ini", "__MACOSX/ant/._1.png", "@eaDir/ant/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.txt").write_text("beside the classes")
    images, labels, names = load_folder(tmp_path)
    assert (len(images), labels.tolist(), names) == (2, [0, 1], ["ant", "bee"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert "6 hidden and system files and folders are ignored, such as .DS_Store, .git, @eaDir" in line


def test_files_that_are_no_images_are_left_out_and_named_once(tmp_path, caplog):
    for name in ("ant", "bee"):
        save(tmp_path / name / "good.png", (1, 2, 3))
    (tmp_path / "bee" / "notes.txt").write_text("no image")
    (tmp_path / "bee" / "empty.jpg").write_bytes(b"")
    (tmp_path / "bee" / "half.png").write_bytes((tmp_path / "bee" / "good.png").read_bytes()[:60])
    (tmp_path / "bee" / "lost.png").symlink_to(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "ant" / "pipe\n.png")
    images, labels, names = load_folder(tmp_path)
    assert (len(images), labels.tolist(), names) == (2, [0, 1], ["ant", "bee"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"{tmp_path}: 5 files cannot be read as images and are left out: ant/pipe\\n.png, bee/empty.jpg, "
        "bee/half.png, bee/lost.png, bee/notes.txt"
    )


def test_thousands_of_files_that_are_no_images_make_one_short_line(tmp_path, caplog):
    for name in ("ant", "bee"):
        save(tmp_path / name / "z.png", (1, 2, 3))
    for number in range(2000):
        (tmp_path / "ant" / f"{number:04}.txt").write_text("no image")
        (tmp_path / "ant" / f"._{number:04}.png").write_text("no image")
    assert len(load_folder(tmp_path)[0]) == 2
    ignored, unreadable = [record.getMessage() for record in caplog.records]
    assert "2000 hidden and system files" in ignored and len(ignored) < 300
    assert "0019.txt and 1980 more" in unreadable and len(unreadable) < 600


def test_folders_inside_of_a_class_belong_to_it(tmp_path):
    for number, name in enumerate(["cat/b.JPG", "cat/2023/a.jpeg", "cat/2023/12/c.Png", "cat/z.PNG", "dog/x/y/d.GIF"]):
        save(tmp_path / name, (50 * number, 0, 0))
    images, labels, names = load_folder(tmp_path)
    assert (labels.tolist(), names) == ([0, 0, 0, 0, 1], ["cat", "dog"])
    assert np.abs(images[:, 16, 16, 0].astype(int) - [100, 50, 0, 150, 200]).max() < 5


def test_links_are_followed_and_loops_are_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for name in ("1.png", "more/2.png"):
        save(elsewhere / name, (1, 2, 3))
    folder = tmp_path / "folder"
    save(folder / "bee" / "1.png", (1, 2, 3))
    (folder / "ant").symlink_to(elsewhere)
    (folder / "bee" / "2.png").symlink_to(elsewhere / "1.png")
    (folder / "bee" / "again").symlink_to(elsewhere / "more")
    (folder / "bee" / "and again").symlink_to(elsewhere / "more")
    assert load_folder(folder)[1].tolist() == [0, 0, 1, 1, 1]
    for place, target in (("ant/more/loop", elsewhere), ("bee/up", folder), ("bee/here", folder / "bee")):
        (folder / place).symlink_to(target)
        with pytest.raises(CifarZooError, match=f"{place}' is a link to a folder that it is in; remove it"):
            load_folder(folder)
        (folder / place).unlink()
    (folder / "cat").symlink_to(folder / "cat")
    with pytest.raises(CifarZooError, match="cat' is a link to nothing, where a class may have been"):
        load_folder(folder)


def test_links_within_reason(tmp_path):
    """Two links in each of thirty folders to the next one lead to a billion places."""
    store = tmp_path / "store"
    for number in range(30):
        save(store / f"{number}" / "image.png", (1, 2, 3))
        for name in ("a", "b"):
            (store / f"{number}" / name).symlink_to(store / f"{number + 1}")
    for name in ("ant", "bee"):
        save(tmp_path / "folder" / name / "1.png", (1, 2, 3))
    (tmp_path / "folder" / "ant" / "maze").symlink_to(store / "0")
    (store / "29" / "a").unlink()  # it leads nowhere and would be counted as a file
    (store / "29" / "b").unlink()
    assert np.bincount(load_folder(tmp_path / "folder")[1]).tolist() == [31, 1]
    (tmp_path / "folder" / "bee" / "/".join("d" * 40)).mkdir(parents=True)
    with pytest.raises(CifarZooError, match="d' is more than 32 folders deep; move its images up"):
        load_folder(tmp_path / "folder")


@pytest.mark.parametrize("parts", [["train", "test"], ["Train", "val"], ["training", "validation", "test"], ["train"]])
def test_the_parts_of_a_data_set_are_no_classes(tmp_path, parts):
    for part in parts:
        for name in ("ant", "bee"):
            save(tmp_path / part / name / "1.png", (1, 2, 3))
    first = sorted(parts)[0]
    with pytest.raises(CifarZooError, match=f"parts of a data set, .*, and not classes; give one of them, .*{first}'"):
        load_folder(tmp_path)
    assert load_folder(tmp_path / first)[2] == ["ant", "bee"]


@pytest.mark.parametrize("size", [1, 48, np.int64(20)])
def test_images_of_another_size(tmp_path, size):
    for name, color in (("ant", 100), ("bee", 200)):
        save(tmp_path / name / "1.png", color, "L")
    images, _, _ = load_folder(tmp_path, size)
    assert images.shape == (2, size, size, 3) and images[:, 0, 0, 0].tolist() == [100, 200]
    for bad in (0, -1, 2.5, "32", True, None, 5000, 10**30):
        with pytest.raises(CifarZooError, match="image_size must be"):
            load_folder(tmp_path, bad)


def test_names_of_any_bytes(tmp_path):
    for name in (b"caf\xe9", "naïve\n".encode()):
        save(tmp_path / os.fsdecode(name) / "1.png", (1, 2, 3))
    assert {os.fsencode(name) for name in load_folder(tmp_path)[2]} == {b"caf\xe9", "naïve\n".encode()}


def test_what_is_no_such_folder_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(CifarZooError, match="there is no folder '.*nothing'"):
        load_folder(folder / "nothing")
    with pytest.raises(CifarZooError, match="has no subfolders; it needs one with images for each class"):
        load_folder(folder)
    save(folder / "loose.png", (1, 2, 3))
    with pytest.raises(CifarZooError, match="there is no folder '.*loose.png'"):
        load_folder(folder / "loose.png")
    save(folder / "ant" / "1.png", (1, 2, 3))
    with pytest.raises(CifarZooError, match="has only one class, 'ant'; it needs a subfolder with images for each of"):
        load_folder(folder)
    (folder / "bee").mkdir()
    with pytest.raises(CifarZooError, match="the class '.*bee' has no images; add some, or remove it"):
        load_folder(folder)
    (folder / "bee" / "notes.txt").write_text("no image")
    message = "notes.txt' cannot be read as an image: .*; the class 'bee' has no other image: add some, or remove it"
    with pytest.raises(CifarZooError, match=message):
        load_folder(folder)
