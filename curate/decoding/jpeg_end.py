"""A JPEG whose last two bytes are missing, those that say “end of image”: is the picture before them whole?

libjpeg fills with grey what a cut-off file lacks, and does not say so. So the end is put back after two kinds of
data that the picture does not have: where all of it was there, these change no pixel; where some was missing, they are
decoded in its place.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

END: Final = b"\xff\xd9"
_SOI = b"\xff\xd8"
_SOS, _TEM = 0xDA, 0x01
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}

# No byte is 0xFF, which would begin a marker. Two kinds, for one of them might decode to what is missing.
_FILLS = (bytes((89 * at + 23) % 255 for at in range(1024)), bytes((151 * at + 111) % 255 for at in range(1024)))


class Segment(NamedTuple):
    """One marker of a JPEG: its code, and where its bytes begin and end, the scan's data included."""

    marker: int
    start: int
    payload: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """The markers of the first picture in the bytes of a JPEG, up to and with its end, as far as they are there."""
    at = 2
    while at < len(data) - 1:
        if data[at] != 0xFF:  # what no marker announces is passed over, as libjpeg does
            at = data.find(b"\xff", at)
            if at < 0:
                return
            continue
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _RESTARTS or marker in {0x00, _TEM, 0xD8}:
            at += 2
        elif marker == 0xD9:
            yield Segment(marker, at, at + 2, at + 2)
            return
        else:
            payload = at + 4
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _SOS:
                end = _end_of_scan(data, end)
            yield Segment(marker, at, payload, min(end, len(data)))
            at = max(end, payload)


def has_end(data: bytes) -> bool:
    """Whether the first picture bears the mark of its end, whatever lies behind it."""
    return data.endswith(END) or any(segment.marker == 0xD9 for segment in segments(data))


def candidates(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The same JPEG with its end put back at once, and after two kinds of other data; None where it has an end.

    The picture is whole where all three decode to the same pixels. None, too, where a progressive picture has not
    got all of its scans.
    """
    found = list(segments(data))
    scans = [segment for segment in found if segment.marker == _SOS]
    if not data.startswith(_SOI) or not scans or any(segment.marker == 0xD9 for segment in found):
        return None
    frame = next((segment for segment in found if segment.marker in _FRAMES), None)
    if frame is None or not _has_every_scan(data, frame, scans):
        return None
    body = _without_padding(data)
    plain, *filled = (body + fill + END for fill in (b"", *(_with_restarts(body, fill) for fill in _FILLS)))
    return plain, filled[0], filled[1]


def _without_padding(data: bytes) -> bytes:
    """Without zeros at the end, which a download leaves that reserved its space: they would be decoded as data."""
    body = data.rstrip(b"\0")
    if len(data) - len(body) < 2:
        return data.rstrip(b"\xff")
    return body + b"\0" if body.endswith(b"\xff") else body


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the next marker that is no restart begins."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] != 0 and data[at + 1] != 0xFF and data[at + 1] not in _RESTARTS:
            return at
        at += 1 if data[at + 1] == 0xFF else 2


def _has_every_scan(data: bytes, frame: Segment, scans: list[Segment]) -> bool:
    """Whether each component, and of a progressive one each coefficient to its last bit, has had its scan begun."""
    count = data[frame.payload + 5]
    lacking = {data[frame.payload + 6 + 3 * at]: set(range(64)) for at in range(count)}
    for scan in scans:
        number = data[scan.payload]
        names = [data[scan.payload + 1 + 2 * at] for at in range(number)]
        first, last, bits = data[scan.payload + 1 + 2 * number : scan.payload + 4 + 2 * number]
        if frame.marker not in _PROGRESSIVE:
            first, last, bits = 0, 63, 0
        for name in names:
            if name in lacking and not bits & 15:
                lacking[name] -= set(range(first, last + 1))
    return not any(lacking.values())


def _with_restarts(body: bytes, fill: bytes) -> bytes:
    """The fill, and between its repetitions the restart markers that would come next in `body`."""
    last = max((body.rfind(bytes((0xFF, code))), code) for code in _RESTARTS)
    number = (last[1] + 1) % 8 if last[0] >= 0 else 0
    return fill + b"".join(bytes((0xFF, 0xD0 + (number + step) % 8)) + fill for step in range(8))
