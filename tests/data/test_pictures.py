"""Picture files of all kinds."""

import numpy as np
import pytest
from PIL import Image

from cifar_zoo import CifarZooError
from cifar_zoo.data.pictures import centre_crop, read_picture


def test_centre_crop():
    x = np.arange(2 * 6 * 5).reshape(2, 6, 5, 1)
    np.testing.assert_array_equal(centre_crop(x, 4, 3), x[:, 1:5, 1:4])
    np.testing.assert_array_equal(centre_crop(x, None, None), x)
    with pytest.raises(CifarZooError, match="takes 8x5 pictures, and these have only 6x5"):
        centre_crop(x, 8, None)


@pytest.mark.parametrize(
    "mode, suffix",
    [("RGB", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("RGB", "bmp"), ("RGB", "tiff"), ("L", "png"), ("1", "png"),
     ("P", "gif"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("CMYK", "jpg"), ("I;16", "png"), ("I", "tiff"),
     ("F", "tiff"), ("YCbCr", "jpg"), ("LAB", "tiff")],
)  # fmt: skip
def test_modes_and_formats(tmp_path, mode, suffix):
    """One colour, in any mode, comes out as that colour."""
    grey = {"I;16": 40_000, "I": 40_000, "F": 0.6}
    picture = (
        Image.fromarray(np.full((50, 70), grey[mode], {"I;16": "uint16", "I": "int32", "F": "float32"}[mode]))
        if mode in grey
        else Image.new("RGB", (70, 50), (200, 100, 50))
    )
    if mode == "LAB":
        picture = Image.new(mode, (70, 50), (20, 150, 200))
    elif mode == "P":
        picture = picture.quantize()
    elif mode not in grey:
        picture = picture.convert(mode)
    path = tmp_path / f"picture.{suffix}"
    picture.save(path)
    out = read_picture(path)
    assert out.shape == (32, 32, 3) and out.dtype == np.uint8
    if mode == "1":
        return  # dithered
    assert out.reshape(-1, 3).std(axis=0).max() < 3
    if mode in ("RGB", "P", "RGBA", "CMYK", "YCbCr"):
        assert np.abs(out[16, 16].astype(int) - (200, 100, 50)).max() < 12
    elif mode in ("I;16", "I"):
        assert np.abs(out[16, 16] - 40_000 / 257).max() < 2
    elif mode == "F":
        assert np.abs(out[16, 16] - 0.6 * 255).max() < 2


def test_transparency_becomes_white(tmp_path):
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 32, 64))
    picture.save(tmp_path / "half.png")
    out = read_picture(tmp_path / "half.png")
    np.testing.assert_array_equal(out[16, 2], (255, 255, 255))
    np.testing.assert_array_equal(out[16, 29], (255, 0, 0))


def test_the_middle_square_is_taken_upright(tmp_path):
    pixels = np.zeros((100, 300, 3), "uint8")
    pixels[:, 100:200] = 250
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert read_picture(tmp_path / "wide.png").min() > 200
    top = np.zeros((64, 64, 3), "uint8")
    top[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(top).save(tmp_path / "turned.png", exif=exif)
    out = read_picture(tmp_path / "turned.png")
    assert out[:, 24:].min() > 200 and out[:, :8].max() < 50


def test_a_picture_of_the_right_size_is_kept(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "small.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "small.png"), pixels)


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(CifarZooError, match="there is no picture '.*nothing.png'"):
        read_picture(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(CifarZooError, match="text.png' cannot be read as a picture"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(CifarZooError, match="cannot be read as a picture"):
        read_picture(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(CifarZooError, match=r"broken.png' cannot be read"):
        read_picture(tmp_path / "broken.png")
