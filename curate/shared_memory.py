"""Memory that other processes write on: those that are forked from here, and those that its handle is sent to."""

import mmap
import os


class SharedMemory:
    """`size` bytes, all zero at first, that go when the last process has let go of them: nothing lies in a folder."""

    def __init__(self, size: int, handle: int | None = None) -> None:
        """`handle` is the file descriptor that another process sent; it is ours from now on."""
        self.size = size
        self.handle = handle
        if handle is None and hasattr(os, "memfd_create"):
            self.handle = os.memfd_create("florilegium")
            os.ftruncate(self.handle, size)
        self.bytes = mmap.mmap(-1 if self.handle is None else self.handle, size)

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None:
            os.close(self.handle)  # type: ignore[arg-type]
            self.handle = None
