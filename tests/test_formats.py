"""Files that decoders lose: HEIC, JPEG XL, icons, long metadata, a missing end; and those that are no picture yet."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset
from curate.decoding import formats
from curate.decoding.jpeg_xl import claimed_size
from curate.image import BrokenImage, UnreadableHere, decode, frames, image_bytes
from curate.inspect import inspect
from curate.quality import flags
from curate.scan import scan
from curate.split import split
from curate.verify import verify
from tests.encoded import ADOBE_RGB, encode, exif, photograph, pixels
from tests.pictures import dataset, write

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    return encode(image, "HEIF", **options)


def jxl(image: Image.Image, **options: object) -> bytes:
    pytest.importorskip("pillow_jxl")
    return encode(image, "JXL", **options)


EXTRAS = pytest.mark.parametrize(
    ("write_it", "module", "package", "suffix"),
    [(heic, "pillow_heif", "pillow-heif", "heic"), (jxl, "pillow_jxl", "pillow-jxl-plugin", "jxl")],
)


@EXTRAS
def test_it_is_read_upright_and_whole(write_it: Callable[..., bytes], module: str, package: str, suffix: str) -> None:
    picture = photograph(120, 80)
    data = write_it(picture, exif=exif(6), quality=95)
    decoded = decode(data, at_least=16)
    assert (decoded.width, decoded.height) == (80, 120)
    turned = picture.rotate(-90, expand=True)
    seen, meant = (np.asarray(one.resize((8, 12), Image.Resampling.BOX), int) for one in (decoded.pixels, turned))
    assert np.abs(seen - meant).mean() < 8
    for size in (len(data) // 2, len(data) - 20):
        with pytest.raises(BrokenImage):
            decode(data[:size])


def test_a_thumbnail_in_it_is_not_taken_for_the_picture() -> None:
    data = heic(photograph(1024, 768), thumbnails=[128])
    decoded = decode(data, at_least=56)
    assert decoded.pixels.size == (1024, 768)


@EXTRAS
def test_without_its_package_it_stays_and_is_read_once_there_is_one(
    write_it: Callable[..., bytes], module: str, package: str, suffix: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    root = tmp_path / "data"
    dataset(root / "raw", {"1": 6, "2": 6})
    write(root / "raw" / "1" / f"a.{suffix}", write_it(photograph(120, 80)))
    formats._register.cache_clear()
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, module, None)
        missing.setattr(formats, "find_spec", lambda _: None)
        with pytest.raises(UnreadableHere, match=f"not readable here: .* needs the package {package}"):
            decode((root / "raw" / "1" / f"a.{suffix}").read_bytes())
        report = clean(root, yes=True)
        assert (report.plan.decisions, [path for path, _ in report.unreadable]) == ([], [f"raw/1/a.{suffix}"])
        done = split(root)
        assert (done.broken, done.unreadable) == ([], [f"raw/1/a.{suffix}"])
        checked = verify(root)
        assert (checked.in_order, checked.broken, len(checked.unreadable)) == (True, [], 1)
    formats._register.cache_clear()
    report = clean(root, yes=True)
    assert (report.unreadable, report.scan.read) == ([], 1)
    assert sum(sum(counts.values()) for counts in split(root).counts.values()) == 13


@pytest.mark.parametrize("size", [(1, 1), (256, 256), (300, 200), (1920, 1080), (8, 16), (3000, 40)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(size: tuple[int, int], container: bool) -> None:
    assert claimed_size(jxl(Image.new("RGB", size), use_container=container)) == size


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (POINTER, "an LFS pointer in the picture's place: run `git lfs pull`"),
        (b"/annex/objects/SHA256E-s1--00.jpg\n", "run `git annex get`"),
    ],
)
def test_a_pointer_is_no_broken_picture(tmp_path: Path, data: bytes, reason: str) -> None:
    dataset(tmp_path / "data", {"1": 3, "2": 3})
    write(tmp_path / "data" / "1" / "big.jpg", data)
    report = clean(tmp_path / "data", yes=True)
    assert report.plan.decisions == []
    assert [(path, reason in why) for path, why in report.unreadable] == [("1/big.jpg", True)]
    write(tmp_path / "data" / "1" / "big.jpg", encode(photograph(), "JPEG"))  # pulled
    assert clean(tmp_path / "data", yes=True).unreadable == []


def tiff(tags: dict[int, int | bytes]) -> bytes:
    """A small picture as a TIFF with more tags."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory.tagtype[tag] = 4 if isinstance(value, int) else 1
        directory[tag] = value
    return encode(photograph(64, 48), "TIFF", tiffinfo=directory)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        pytest.param(tiff({50706: b"\1\4\0\0", 254: 1}), "a.dng", id="DNG"),
        pytest.param(tiff({254: 1, 330: 8}), "a.tif", id="a thumbnail of what lies in other directories"),
        pytest.param(tiff({}), "a.nef", id="a TIFF called raw"),
        pytest.param(b"FUJIFILMCCD-RAW 0201FF" + bytes(200), "a.raf", id="Fuji"),
        pytest.param(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200), "a.cr3", id="CR3"),
    ],
)
def test_a_raw_file_is_not_silently_its_thumbnail(data: bytes, path: str) -> None:
    with pytest.raises(UnreadableHere, match="raw file, whose sensor data have to be developed"):
        decode(data, path=path)


def test_a_dng_that_is_its_full_picture_is_read() -> None:
    assert decode(tiff({50706: b"\1\4\0\0", 254: 0}), path="a.dng").pixels.size == (64, 48)


def test_of_a_tiff_the_whole_is_taken_and_not_the_thumbnail_before_it() -> None:
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as writer:
        photograph(16, 12).save(writer, "TIFF", tiffinfo={254: 1})
        writer.newFrame()
        photograph(64, 48).save(writer, "TIFF")
        writer.newFrame()
        data = buffer.getvalue()
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (16, 12)  # the trap
    assert decode(data).pixels.size == (64, 48)


@pytest.mark.parametrize("size", [(128, 128), (64, 64), (16, 16), (255, 190)])
@pytest.mark.parametrize("bitmap", ["bmp", "png"])
def test_an_icon_is_no_tga(size: tuple[int, int], bitmap: str) -> None:
    picture = photograph(*size).convert("RGBA")
    decoded = decode(encode(picture, "ICO", sizes=[size], bitmap_format=bitmap))
    assert (decoded.format, decoded.pixels.size) == ("ICO", size)
    assert np.array_equal(pixels(decoded), np.asarray(picture.convert("RGB")))
    with pytest.raises(BrokenImage):  # a cursor, and an icon cut off: TGA would take both
        decode(b"\0\0\2\0\1\0\x20\x20\0\0" + bytes(4000))
    with pytest.raises(BrokenImage):
        decode(encode(picture, "ICO", sizes=[size], bitmap_format=bitmap)[:40])


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "many", "after"])
def test_long_text_is_no_reason_to_lose_a_png(kind: str) -> None:
    info = PngImagePlugin.PngInfo()
    if kind == "many":
        for number in range(70):
            info.add_text(f"k{number}", "x" * 1_000_000, zip=True)
    elif kind == "iTXt":
        info.add_itxt("workflow", "node;" * 420_000, zip=True)
    elif kind == "after":
        info.add(b"zTXt", b"workflow\0\0" + zlib.compress(b"node;" * 420_000), after_idat=True)
    else:
        info.add_text("workflow", "node;" * 420_000, zip=True)
    picture = photograph()
    data = encode(picture, "PNG", pnginfo=info, exif=exif(6))
    assert np.array_equal(pixels(decode(data)), np.asarray(picture.rotate(-90, expand=True)))
    with pytest.raises(BrokenImage, match="cut off"):
        decode(data[:-200] if kind != "after" else data[: len(data) // 4])


def test_a_large_profile_is_applied_and_not_feared(tmp_path: Path) -> None:
    long = ADOBE_RGB + bytes(2 << 20)
    long = struct.pack(">I", len(long)) + long[4:]
    picture = photograph()
    for file_format in ("PNG", "JPEG", "WEBP"):
        plain = decode(encode(picture, file_format, icc_profile=ADOBE_RGB))
        assert np.array_equal(pixels(decode(encode(picture, file_format, icc_profile=long))), pixels(plain))


JPEGS = [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 3}, {"quality": 30}]


@pytest.mark.parametrize("options", JPEGS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_without_its_end_is_whole_and_flagged(options: dict[str, object], mode: str) -> None:
    data = encode(photograph(330, 250).convert(mode), "JPEG", **options)
    facts = inspect(data)
    for missing in (1, 2):
        found = inspect(data[:-missing])
        assert (found.broken, found.phash, flags(found.scores)) == (
            "", facts.phash, [*flags(facts.scores), "unterminated"],
        )  # fmt: skip
        assert np.array_equal(pixels(decode(data[:-missing])), pixels(decode(data)))
    assert "unterminated" not in flags(facts.scores)
    # Cut off where a scan or an interval ends, or a little before the end: something of the picture is missing.
    scans = [at for at in range(3, len(data)) if data[at : at + 2] == b"\xff\xda"][1:]
    intervals = [at for at in range(3, len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7][:20]
    for size in (*scans, *intervals, *(at + 2 for at in intervals), len(data) - 12, len(data) // 2):
        with pytest.raises(BrokenImage, match="cut off"):
            decode(data[:size])


def animation(file_format: str, **options: object) -> tuple[bytes, bytes]:
    """One of six frames, and one of its first frame alone."""
    first, *rest = (photograph(60, 40, seed) for seed in range(6))
    return encode(first, file_format, save_all=True, append_images=rest, **options), encode(first, file_format)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF"])
def test_what_is_appended_is_no_part_of_the_picture(file_format: str) -> None:
    data = encode(photograph(), file_format)
    assert image_bytes(data) == len(data)
    for video in (b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40, encode(photograph(9, 9), "JPEG"), bytes(999)):
        assert image_bytes(data + video) == len(data)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "MPO"])
def test_further_frames_are_counted_and_are_no_bytes_of_the_picture(tmp_path: Path, file_format: str) -> None:
    data, alone = animation(file_format)
    write(tmp_path / "many", data)
    write(tmp_path / "one", alone)
    assert (frames(tmp_path / "many"), frames(tmp_path / "one")) == (6, 1)
    assert image_bytes(data) <= len(alone) * 1.3 < len(data)


def test_how_many_frames_is_not_known_of_what_is_no_picture(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", b"words")
    with pytest.raises(BrokenImage, match="text, not a picture"):
        frames(tmp_path / "a.jpg")
    with pytest.raises(BrokenImage, match="cannot be read"):
        frames(tmp_path / "b.jpg")


def test_only_what_is_a_picture_by_name_or_by_content_is_read(tmp_path: Path) -> None:
    dataset(tmp_path / "data", {"1": 2, "2": 2})
    picture = encode(photograph(), "PNG")
    for name, data in {"bare": picture, "odd.txt": picture, "words": b"BMW and P6", "page.jpg": b"<html>"}.items():
        write(tmp_path / "data" / "1" / name, data)
    with Catalog.open(open_dataset(tmp_path / "data").catalog_path) as catalog:
        scan(open_dataset(tmp_path / "data"), catalog)
        found = {Path(one.path).name: one.broken for one in catalog.pictures() if one.label == "1"}
    assert {name: broken for name, broken in found.items() if not name.startswith("picture")} == {
        "bare": "", "odd.txt": "", "page.jpg": "a web page or other markup, not a picture",
    }  # fmt: skip
