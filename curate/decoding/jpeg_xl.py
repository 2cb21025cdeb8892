"""The size that a JPEG XL claims, read before its decoder allocates anything: that one decodes when it opens a file."""

from collections.abc import Iterator

_CODESTREAM = b"\xff\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_BITS = (9, 13, 18, 30)


def claimed_size(data: bytes) -> tuple[int, int]:
    """(width, height), as stored, or (0, 0) where there is no codestream; ISO/IEC 18181-1, SizeHeader."""
    header = _codestream(data)
    if not header.startswith(_CODESTREAM):
        return 0, 0
    bits = _Bits(header[2:16])
    by_eight = bits.take(1)
    height = _side(bits, by_eight)
    ratio = bits.take(3)
    if not ratio:
        return _side(bits, by_eight), height
    numerator, denominator = _RATIOS[ratio - 1]
    return height * numerator // denominator, height


def _side(bits: "_Bits", by_eight: int) -> int:
    if by_eight:
        return 8 * (bits.take(5) + 1)
    return bits.take(_BITS[bits.take(2)]) + 1


class _Bits:
    """Bits from the lowest on."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        found = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return found


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream, which may stand in boxes."""
    if data.startswith(_CODESTREAM):
        return data[:64]
    for kind, start, end in boxes(data):
        if kind == b"jxlc":
            return data[start : min(end, start + 64)]
        if kind == b"jxlp":
            return data[start + 4 : min(end, start + 64)]
    return b""


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content begins, where it ends) of each box of the ISO base format."""
    at = 0
    while at + 8 <= len(data):
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = len(data) if size == 0 else at + size
        if end < start or end > len(data):
            yield kind, start, len(data)
            return
        yield kind, start, end
        at = end
