"""UMAP in a process of its own: it compiles for seconds and computes for minutes, in which the page goes on answering.

The child ends as soon as its parent does, however that ends.
"""

import io
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("!Q")
_NEIGHBOURS: Final = 15


class UmapProcess:
    """One computation under way, of float16[n, dim]; raises OSError where no process can be started."""

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import answer; answer()"
        self._process = subprocess.Popen(  # noqa: S603  this very Python
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            process_group=0,
        )  # fmt: skip
        self._vectors = vectors

    def points(self) -> NDArray[np.float32] | None:
        """Where each lies, float32[n, 2], once it is known; None where the child has failed or was ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin as asking, process.stdout as answering:
                data = _packed(self._vectors)
                asking.write(_LENGTH.pack(len(data)))
                asking.write(data)
                asking.flush()  # and left open: its end says that we have ended
                found = answering.read()
        except (OSError, ValueError):  # ended meanwhile
            return None
        finally:
            process.wait()
        return _unpacked(found, len(self._vectors))

    def end(self) -> None:
        """End the child, if it still runs."""
        with suppress(OSError):
            self._process.kill()


def answer() -> None:
    """In the child: read the vectors, and write the points."""
    asked, answering = sys.stdin.buffer, sys.stdout.buffer
    (length,) = _LENGTH.unpack(asked.read(_LENGTH.size))
    vectors = np.load(io.BytesIO(asked.read(length)), allow_pickle=False).astype(np.float32)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        os.nice(10)
    # McInnes, Healy and Melville, UMAP, arXiv:1802.03426, on cosines
    near = min(_NEIGHBOURS, len(vectors) - 1)
    umap = import_module("umap").UMAP(n_neighbors=near, metric="cosine", random_state=0, n_jobs=1)
    answering.write(_packed(np.asarray(umap.fit_transform(vectors), np.float32)))
    answering.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read(1)
    os._exit(1)


def _packed(array: NDArray[np.float16] | NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _unpacked(data: bytes, count: int) -> NDArray[np.float32] | None:
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    is_whole = found.shape == (count, 2) and found.dtype == np.float32 and bool(np.isfinite(found).all())
    return found if is_whole else None
