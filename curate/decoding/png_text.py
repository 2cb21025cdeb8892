"""PNG files with more text, or a larger colour profile, than Pillow takes: what may be left out, so that it decodes.

Pillow refuses a file whose text or profile is longer than a megabyte when inflated, for fear of a bomb. Text says
nothing of the pixels, and a profile may be inflated with a limit of our own.
"""

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

MOST_PROFILE: Final = 32 << 20
"""Bytes of a colour profile that are inflated; the largest in use are a few million. What exceeds it is left out."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_TELLS_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_LONGEST_KEPT = 1 << 16  # bytes as stored: what says which way is up is short


class Chunk(NamedTuple):
    """One chunk of a PNG: its type, and where its content begins and ends; four more bytes are its checksum."""

    kind: bytes
    start: int
    end: int


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG up to its end, as far as they are there."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunk = Chunk(data[at + 4 : at + 8], at + 8, at + 8 + size)
        yield chunk
        if chunk.kind == b"IEND":
            return
        at = chunk.end + 4


def is_too_much_text(error: Exception) -> bool:
    """Whether Pillow refused a PNG for the length of what stands beside its pixels."""
    return isinstance(error, ValueError) and any(
        sign in str(error) for sign in ("Decompressed data too large", "Too much memory used in text chunks")
    )


def without_text(data: bytes) -> tuple[bytes, bytes]:
    """(the PNG without its text, unless that may say which way is up, and without its profile; the profile or b"")."""
    parts, profile = [_SIGNATURE], b""
    for chunk in chunks(data):
        if chunk.kind == b"iCCP":
            profile = _inflated_profile(data[chunk.start : chunk.end])
            continue
        if chunk.kind in _TEXT and not _may_be_kept(data, chunk):
            continue
        parts.append(data[chunk.start - 8 : chunk.end + 4])
    return b"".join(parts), profile


def _may_be_kept(data: bytes, chunk: Chunk) -> bool:
    content = data[chunk.start : chunk.end]
    if not content.startswith(_TELLS_ORIENTATION) or len(content) > _LONGEST_KEPT:
        return False
    keyword, _, rest = content.partition(b"\0")
    if chunk.kind == b"tEXt" or (chunk.kind == b"iTXt" and rest[:1] == b"\0"):
        return True
    packed = rest[1:] if chunk.kind == b"zTXt" else rest.split(b"\0", 3)[-1]
    return _inflated(packed, 1 << 20) is not None and bool(keyword)


def _inflated_profile(content: bytes) -> bytes:
    _, _, rest = content.partition(b"\0")
    return _inflated(rest[1:], MOST_PROFILE) or b""


def _inflated(packed: bytes, most: int) -> bytes | None:
    """What was packed, or None where it is more than `most` bytes, or damaged."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, most)
    except zlib.error:
        return None
    return found if unpacking.eof else None
