"""Where the first picture ends in the bytes of a file: what lies behind it is a video, another frame, or padding."""

import struct

from curate.decoding.formats import extra_format
from curate.decoding.jpeg_end import segments
from curate.decoding.jpeg_xl import boxes
from curate.decoding.png_text import chunks

_OF_THE_PICTURE = {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"idat", b"uuid", b"wide"}
_OF_JPEG_XL = {b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"jxli", b"jbrd", b"Exif", b"xml ", b"brob", b"jumb"}


def image_bytes(data: bytes) -> int:
    """Bytes up to the end of the first picture, without further frames and without what is appended.

    All of them where the format does not say where its picture ends.
    """
    try:
        end = _end(data)
    except (IndexError, struct.error):  # damaged, or cut off
        return len(data)
    return min(end, len(data)) if end > 0 else len(data)


def _end(data: bytes) -> int:
    if data.startswith(b"\xff\xd8"):
        return max((segment.end for segment in segments(data)), default=0)
    if data.startswith(b"\x89PNG"):
        return _end_of_png(data)
    if data.startswith(b"GIF8"):
        return _end_of_gif(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _end_of_webp(data)
    if data.startswith(b"BM"):
        return int(struct.unpack_from("<I", data, 2)[0])
    if extra_format(data) == "JXL":
        return 0 if data.startswith(b"\xff\x0a") else _end_of_boxes(data, _OF_JPEG_XL)
    return _end_of_boxes(data, _OF_THE_PICTURE) if data[4:8] == b"ftyp" else 0


def _end_of_png(data: bytes) -> int:
    """With all its text, but without the frames of an animation."""
    end, frames = 0, 0
    for chunk in chunks(data):
        end = chunk.end + 4
        if chunk.kind in {b"fdAT", b"fcTL"}:
            frames += chunk.end - chunk.start + 12
    return end - frames


def _end_of_gif(data: bytes) -> int:
    at = 13 + _colours(data[10])
    while True:
        if data[at] == 0x2C:
            end = _after_blocks(data, at + 11 + _colours(data[at + 9]))
            return end + (data[end : end + 1] == b";")
        if data[at] != 0x21:
            return at + 1
        at = _after_blocks(data, at + 2)


def _colours(packed: int) -> int:
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1


def _end_of_webp(data: bytes) -> int:
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    at, frames, others = 12, 0, 0
    while at + 8 <= min(end, len(data)):
        size = int(struct.unpack_from("<I", data, at + 4)[0])
        size += 8 + size % 2
        if data[at : at + 4] == b"ANMF":
            frames += 1
            others += size if frames > 1 else 0
        at += size
    return end - others


def _end_of_boxes(data: bytes, own: set[bytes]) -> int:
    """The end of the last box before the first that is none of the picture's, such as a phone's appended video."""
    last = 0
    for kind, _, end in boxes(data):
        if kind not in own or (kind == b"ftyp" and last):
            break
        last = end
    return last
