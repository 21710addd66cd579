"""Loading image files of all formats and modes."""

import numpy as np
import pytest
from PIL import Image

from cifar_zoo import CifarZooError
from cifar_zoo.data.images import center_crop, read_image


def test_center_crop():
    x = np.arange(2 * 6 * 5).reshape(2, 6, 5, 1)
    np.testing.assert_array_equal(center_crop(x, 4, 3), x[:, 1:5, 1:4])
    np.testing.assert_array_equal(center_crop(x, None, None), x)
    with pytest.raises(CifarZooError, match="takes 8x5 images, and these have only 6x5"):
        center_crop(x, 8, None)


@pytest.mark.parametrize(
    "mode, suffix",
    [("RGB", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("RGB", "bmp"), ("RGB", "tiff"), ("L", "png"), ("1", "png"),
     ("P", "gif"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("CMYK", "jpg"), ("I;16", "png"), ("I", "tiff"),
     ("F", "tiff"), ("YCbCr", "jpg"), ("LAB", "tiff")],
)  # fmt: skip
def test_modes_and_formats(tmp_path, mode, suffix):
    """One color, in any mode, comes out as that color."""
    gray = {"I;16": 40_000, "I": 40_000, "F": 0.6}
    image = (
        Image.fromarray(np.full((50, 70), gray[mode], {"I;16": "uint16", "I": "int32", "F": "float32"}[mode]))
        if mode in gray
        else Image.new("RGB", (70, 50), (200, 100, 50))
    )
    if mode == "LAB":
        image = Image.new(mode, (70, 50), (20, 150, 200))
    elif mode == "P":
        image = image.quantize()
    elif mode not in gray:
        image = image.convert(mode)
    path = tmp_path / f"image.{suffix}"
    image.save(path)
    out = read_image(path)
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
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    image.save(tmp_path / "half.png")
    out = read_image(tmp_path / "half.png")
    np.testing.assert_array_equal(out[16, 2], (255, 255, 255))
    np.testing.assert_array_equal(out[16, 29], (255, 0, 0))


def test_the_middle_square_is_taken_upright(tmp_path):
    pixels = np.zeros((100, 300, 3), "uint8")
    pixels[:, 100:200] = 250
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png").min() > 200
    top = np.zeros((64, 64, 3), "uint8")
    top[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(top).save(tmp_path / "turned.png", exif=exif)
    out = read_image(tmp_path / "turned.png")
    assert out[:, 24:].min() > 200 and out[:, :8].max() < 50


def test_a_image_of_the_right_size_is_kept(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "small.png")
    np.testing.assert_array_equal(read_image(tmp_path / "small.png"), pixels)


def test_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(CifarZooError, match="there is no image '.*nothing.png'"):
        read_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(CifarZooError, match="text.png' cannot be read as an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(CifarZooError, match="cannot be read as an image"):
        read_image(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(CifarZooError, match=r"broken.png' cannot be read"):
        read_image(tmp_path / "broken.png")
