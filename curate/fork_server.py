"""A process that forks others for this one, where threads run beside which nothing may be forked.

It is a Python of its own, with one thread, which imports what it is sent and forks as often as it is asked to. What its
children work on is pickled, so that they don't see what this process has in memory, but for `SharedMemory`. It ends as
soon as this process does, however that ends, and its children end with it.
"""

import atexit
import io
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final, Self

from curate.shared_memory import SharedMemory

# What is asked, the question's number, the number that it is about, and how many bytes follow
_HEAD: Final = struct.Struct("!cQQQ")
_ANSWER: Final = struct.Struct("!q")
_JOB, _HIRE, _EXIT_CODE, _KILL, _DROP = b"j", b"h", b"e", b"k", b"d"
_MOST_HANDLES: Final = 16

Serve = Callable[[Callable[[Any], Any], Connection], None]
"""What a child does: (the job's function, its end of the connection); it never returns."""


class ForkServer:
    """The process, and what is asked of it."""

    _running: Self | None = None
    _starting = threading.Lock()

    def __init__(self) -> None:
        """Start it; raises OSError where that is not possible."""
        self._asking = threading.Lock()
        self._pid, self._last = os.getpid(), 0
        self._control, theirs = socket.socketpair()
        with theirs:
            code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({theirs.fileno()})"
            # A group of its own: Ctrl-C is for the one who asks
            self._process = subprocess.Popen(  # noqa: S603  this very Python
                [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, process_group=0
            )
        atexit.register(self.close)

    @classmethod
    def is_running(cls) -> bool:
        """Whether one is there already, so that to fork takes no longer than elsewhere."""
        server = cls._running
        return server is not None and server._pid == os.getpid() and server._process.poll() is None

    @classmethod
    def running(cls) -> Self:
        """The one of this process, started where there is none; raises OSError where that is not possible."""
        with cls._starting:
            if cls._running is None or not cls.is_running():
                cls._running = cls()
            return cls._running

    def job(self, function: Callable[[Any], Any], serve: Serve) -> int:
        """Send what children are to work on; returns the job's number. Raises what pickle does, and OSError."""
        file, handles = io.BytesIO(), list[int]()
        _Pickler(file, handles).dump((function, serve))
        return self._tell(_JOB, content=file.getvalue(), handles=handles)

    def hire(self, job: int, theirs: Connection) -> int:
        """Fork a child for a job, which serves `theirs`; returns its number. Raises OSError where the server is gone.

        It is not waited for: a server that has just been started first imports what the job needs.
        """
        return self._tell(_HIRE, job, handles=[theirs.fileno()])

    def exit_code(self, child: int) -> int:
        """Wait for a child's end, and say how it ended: minus the signal's number where one ended it."""
        try:
            with self._asking:
                self._send(_EXIT_CODE, child)
                (found,) = _ANSWER.unpack(_read(self._control, _ANSWER.size))
        except OSError:
            return -signal.SIGKILL  # they end together
        return int(found)

    def kill(self, child: int) -> None:
        """End a child."""
        with suppress(OSError):
            self._tell(_KILL, child)

    def drop(self, job: int) -> None:
        """Have it forget a job."""
        with suppress(OSError):
            self._tell(_DROP, job)

    def close(self) -> None:
        """End it, and its children with it."""
        if self._pid == os.getpid():
            self._control.close()
            self._process.kill()
            self._process.wait()

    def _tell(self, what: bytes, about: int = 0, content: bytes = b"", handles: Sequence[int] = ()) -> int:
        with self._asking:
            return self._send(what, about, content, handles)

    def _send(self, what: bytes, about: int, content: bytes = b"", handles: Sequence[int] = ()) -> int:
        self._last += 1
        head = _HEAD.pack(what, self._last, about, len(content))
        if socket.send_fds(self._control, [head], handles) < len(head):
            raise ConnectionError("half a question")
        self._control.sendall(content)
        return self._last


def serve(control_handle: int) -> None:
    """What the process does: fork and reap for whoever is at the other end, as long as anybody is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=control_handle) as control, suppress(OSError):
        _serve(control)
    os._exit(0)


def _serve(control: socket.socket) -> None:
    """Until nobody is there; raises ConnectionError then."""
    jobs: dict[int, tuple[Callable[[Any], Any], Serve]] = {}
    children: dict[int, int] = {}
    while True:
        head, handles, _, _ = socket.recv_fds(control, _HEAD.size, _MOST_HANDLES)
        if len(head) < _HEAD.size:
            raise ConnectionError("nobody is there")
        what, number, about, length = _HEAD.unpack(head)
        content = _read(control, length)
        if what == _JOB:
            jobs[number] = _Unpickler(io.BytesIO(content), handles).load()
        elif what == _HIRE:
            children[number] = _forked(control, *jobs[about], handles[0])
            os.close(handles[0])
        elif what == _KILL:
            os.kill(children[about], signal.SIGKILL)  # it is not reaped before it is asked how it ended
        elif what == _EXIT_CODE:
            _, status = os.waitpid(children.pop(about), 0)
            control.sendall(_ANSWER.pack(os.waitstatus_to_exitcode(status)))
        elif what == _DROP:
            del jobs[about]


def _forked(control: socket.socket, function: Callable[[Any], Any], serve: Serve, handle: int) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            control.close()
            serve(function, Connection(handle))
        finally:
            os._exit(1)
    return child


def _read(control: socket.socket, length: int) -> bytes:
    """So many bytes; raises ConnectionError where there are fewer."""
    content = bytearray()
    while len(content) < length:
        part = control.recv(min(length - len(content), 1 << 20))
        if not part:
            raise ConnectionError("nobody is there")
        content += part
    return bytes(content)


class _Pickler(pickle.Pickler):
    """Sends shared memory as its handle."""

    def __init__(self, file: io.BytesIO, handles: list[int]) -> None:
        super().__init__(file)
        self._handles = handles

    def persistent_id(self, thing: Any) -> tuple[int, int] | None:
        """(size, place among the handles) of shared memory; None for all else."""
        if not isinstance(thing, SharedMemory):
            return None
        if thing.handle is None:
            raise pickle.PicklingError("this memory has no handle")
        self._handles.append(thing.handle)
        return thing.size, len(self._handles) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, handles: list[int]) -> None:
        super().__init__(file)
        self._handles = handles

    def persistent_load(self, found: tuple[int, int]) -> SharedMemory:
        """The shared memory of a handle."""
        size, place = found
        return SharedMemory(size, self._handles[place])
