"""The body of an answer, unpacked if it is packed by gzip, and no more of it than is wanted."""

import zlib
from typing import Literal

from curate.web.network import Response

End = Literal["whole", "longer", "cut off"]


async def unpacked(response: Response, *, by_gzip: bool, most: int) -> tuple[bytes, End]:
    """(the first `most` bytes at most, how it ended). "longer" is also what comes packed in more than `most` bytes.

    Raises `zlib.error` for what is no gzip, and what the transport raises.
    """
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if by_gzip else None
    content, came = bytearray(), 0
    async for chunk in response.aiter_raw():
        came += len(chunk)
        if unpack is None:
            content += chunk
        elif not unpack.eof:  # what comes after its end is kept by zlib, and read by nobody
            # One byte more than is wanted is enough to know; a small answer may unpack to any size.
            content += unpack.decompress(chunk, most + 1 - len(content))
        if max(came, len(content)) > most:
            return bytes(content[:most]), "longer"
    return bytes(content), "whole" if unpack is None or unpack.eof else "cut off"
