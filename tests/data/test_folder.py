"""Loading folders of images."""

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
    for name in ("ant/.DS_Store", "ant/Thumbs.db", "ant/desktop.ini", "__MACOSX/ant/._1.png", "@eaDir/ant/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.txt").write_text("beside the classes")
    images, labels, names = load_folder(tmp_path)
    assert (len(images), labels.tolist(), names) == (1, [0], ["ant"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert "6 hidden and system files and folders are ignored, such as .DS_Store, .git, @eaDir" in line


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
    (folder / "bee").mkdir()
    with pytest.raises(CifarZooError, match="the class '.*bee' has no images"):
        load_folder(folder)
    (folder / "bee" / "notes.txt").write_text("no image")
    with pytest.raises(CifarZooError, match="notes.txt' cannot be read as an image"):
        load_folder(folder)
    with pytest.raises(CifarZooError, match="ant' is a folder where an image of the class '.*' should be"):
        load_folder(tmp_path)
