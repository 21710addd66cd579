"""Loading image files of all formats and modes."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cifar_zoo import CifarZooError
from cifar_zoo.data.images import center_crop, from_pillow, read_image, resized, side_for


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
    with pytest.raises(CifarZooError, match="there is no file '.*nothing.png'"):
        read_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(CifarZooError, match="text.png' cannot be read as an image"):
        read_image(tmp_path / "text.png")
    with pytest.raises(CifarZooError, match="is a folder, where a file was expected"):
        read_image(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(CifarZooError, match=r"broken.png' cannot be read"):
        read_image(tmp_path / "broken.png")


def test_formats_that_run_programs_are_not_opened(tmp_path):
    """Pillow gives EPS to Ghostscript, whatever the name of the file says."""
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png", format="EPS")
    with pytest.raises(CifarZooError, match="image.png' cannot be read as an image: it is none of AVIF, BMP"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize(
    "values, message",
    [
        (np.full((9, 9), np.nan, "float32"), "from nan to nan; those of an image of floats are from 0 to 1"),
        (np.array([[0, np.inf]], "float32"), "from 0 to inf"),
        (np.array([[0.0, 200]], "float32"), "from 0 to 200"),
        (np.array([[-0.5, 1]], "float32"), "from -0.5 to 1"),
        (np.array([[0, 65_536]], "int32"), "from 0 to 65536; those of an image of integers of 16 or 32 bits"),
        (np.array([[-1, 0]], "int32"), "from -1 to 0"),
    ],
)
def test_values_outside_the_range_of_the_format_are_refused(tmp_path, values, message):
    Image.fromarray(values).save(tmp_path / "image.tiff")
    with pytest.raises(CifarZooError, match=f"image.tiff' cannot be read as an image: its values are .*{message}"):
        read_image(tmp_path / "image.tiff")


@pytest.mark.parametrize("dtype, white", [("uint16", 65_535), ("int32", 65_535), ("float32", 1)])
def test_the_format_decides_about_white_and_not_the_brightest_pixel(tmp_path, dtype, white):
    dark = np.linspace(0, white / 300, 32 * 32).reshape(32, 32).astype(dtype)
    Image.fromarray(dark).save(tmp_path / "dark.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "dark.tiff")[..., 0], (dark / white * 255).astype("uint8"))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    "metadata",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000))),
        chunk(b"tEXt", b"Comment\0" + bytes(70_000_000)),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(20_000_000))),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(20_000_000))),
        chunk(b"iCCP", b"profile\0\0no zlib stream"),
        chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        chunk(b"eXIf", b"no EXIF data"),
    ],
    ids=["zTXt", "tEXt", "iTXt", "long profile", "broken profile", "far EXIF", "broken EXIF"],
)
def test_damaged_metadata_does_not_matter(tmp_path, metadata):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(content[:33] + metadata + content[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), pixels)


def test_damaged_exif_data_of_a_photograph_does_not_matter(tmp_path):
    Image.new("RGB", (40, 40), (200, 100, 50)).save(tmp_path / "image.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert np.abs(read_image(tmp_path / "image.jpg").astype(int) - (200, 100, 50)).max() < 5


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    rows = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 5_001, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + rows + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(CifarZooError, match=r"10000x5001 pixels are more than 50 million"):
        read_image(tmp_path / "bomb.png")


def test_the_image_of_a_caller_stays_as_it_is():
    image = Image.fromarray(np.arange(40 * 30 * 3, dtype="uint8").reshape(40, 30, 3))
    image.getexif()[0x0112] = 6
    before = np.array(image)
    turned = from_pillow(image)
    np.testing.assert_array_equal(np.array(image), before)
    np.testing.assert_array_equal(turned, from_pillow(Image.fromarray(np.rot90(before, -1))))


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_arrays_are_resized_as_files_are(tmp_path, channels, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 70, *channels), dtype="uint8")
    found = resized(pixels.astype(dtype), 20)
    for image, values in zip(found, pixels, strict=True):
        Image.fromarray(values[..., 0] if channels == (1,) else values).save(tmp_path / "image.png")
        np.testing.assert_array_equal(image, read_image(tmp_path / "image.png", 20))


def test_the_size_of_images_is_that_of_cifar10_or_of_a_larger_input():
    assert [side_for(shape) for shape in [(24, 24, 3), (32, 32, 3), (None, None, 3), (48, 64, 3)]] == [32, 32, 32, 64]
    pixels = np.zeros((2, 32, 32, 3), "uint8")
    assert resized(pixels) is pixels
