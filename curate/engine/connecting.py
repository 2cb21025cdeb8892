"""A connection to Ray for the time of a `with`: to a cluster that runs, or to one of this machine that ends with it."""

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from curate.engine.process_tree import ProcessKey, children_of, with_descendants
from curate.errors import UserError
from curate.extras import require_extra
from curate.parallel import processors
from curate.printable import shown
from curate.program import INSTALLED

ANY_CLUSTER: Final = "auto"
"""The address of whichever cluster runs on this machine."""

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray sees `uv run` above us, packs the working folder, pictures and all, and has each worker unpack it
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what a task without a GPU sees of GPUs is not changed, nor warned of
}
_THIS_MACHINE: Final = "127.0.0.1"  # then Ray listens to nobody else
_LONGEST_FOLDER: Final = 26  # bytes: below it Ray's sockets lie, whose paths end at 103 on macOS
_SILENT: Final[dict[str, Any]] = {"log_to_driver": False, "logging_level": logging.ERROR}
_SAYS: Final = "print_to_stdstream"
_ANSWER_SECONDS: Final = 5.0
_END_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray can be asked within the block: the cluster at `address` ("HOST:PORT", or "auto" for whichever runs on this
    machine) or, where it is None, one of this machine alone, all of whose processes have ended after it.

    Whoever is connected already stays so. Nothing is reported to Ray's makers. A cluster of our own writes below the
    system's temporary folder alone, and nothing stays there. The environment of this process, and what it does on
    SIGTERM, are as they were. Raises `UserError` where Ray is not installed, where nothing of Ray's answers at the
    address, and where no cluster can be started.
    """
    require_extra("ray", "The engine 'ray' needs", "ray", "ray")
    with _for_ray():
        import ray
    if ray.is_initialized():
        yield
        return
    with _saying_nothing(), _own_cluster(ray) if address is None else _cluster_at(ray, address):
        yield


@contextmanager
def _saying_nothing() -> Iterator[None]:
    """Ray prints of each worker and machine that dies, on standard output, where results are, and takes no option for
    it: whoever asked for something learns of a death by what comes back.
    """
    from ray._private import worker

    says = getattr(worker, _SAYS, None)
    if says is not None:
        setattr(worker, _SAYS, lambda *_said, **_how: None)
    try:
        yield
    finally:
        if says is not None:
            setattr(worker, _SAYS, says)


@contextmanager
def _own_cluster(ray: Any) -> Iterator[None]:
    """One of this machine, in a folder for the time being."""
    before, started = children_of(os.getpid()), set[ProcessKey]()
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_place()))
    try:
        try:
            with _for_ray(RAY_AUTH_TOKEN=_token()):
                ray.init(
                    "local", num_cpus=processors(), include_dashboard=False, _temp_dir=str(folder),
                    _node_ip_address=_THIS_MACHINE, **_SILENT,
                )  # fmt: skip
        except Exception as error:  # Ray has bare ones for a start that takes too long
            raise UserError(f"Ray can't be started on this machine: {_first_line(error)}.") from error
        finally:
            started = children_of(os.getpid()) - before
        yield
    finally:
        _end(ray, started)
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _token() -> str:
    """What our own clusters ask for before they obey. Ray would keep one in the user's home, and reads it once."""
    return os.environ.get("RAY_AUTH_TOKEN") or token_hex(32)


@contextmanager
def _cluster_at(ray: Any, address: str) -> Iterator[None]:
    _require_answer(address)
    try:
        try:
            with _for_ray():
                ray.init(address, **_SILENT)
        except Exception as error:  # Ray has bare ones for a start that takes too long
            raise UserError(
                f"The Ray cluster at {shown(address)} can't be joined ({_first_line(error)}): run this on one of its "
                f"machines, with the versions of Ray and Python that it runs."
            ) from error
        yield
    finally:
        ray.shutdown()


@contextmanager
def _for_ray(**more: str) -> Iterator[None]:
    """The environment that Ray and its processes are to have, `more` of it too, and afterwards what was before."""
    environment, on_sigterm = dict(os.environ), signal.getsignal(signal.SIGTERM)
    os.environ.update(_ENVIRONMENT | more)
    if not INSTALLED:  # its workers import this program from where it is imported here
        here = str(Path(__file__).resolve().parents[2])
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)


def _require_answer(address: str) -> None:
    """Raise `UserError` where nobody listens: Ray itself would wait for a minute, and then end this process."""
    if address == ANY_CLUSTER:
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"No Ray cluster answers at {shown(address)} ({_first_line(error)}): start one with `ray start --head`, or "
            f"give the address of one, as ray:HOST:PORT."
        ) from error


def _place() -> str:
    """The folder for the time being in which a cluster's own lies: the system's, unless its path is too long."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= _LONGEST_FOLDER or not Path("/tmp").is_dir() else "/tmp"  # noqa: S108


def _end(ray: Any, started: set[ProcessKey]) -> None:
    """Disconnect, and see to it that the processes `started`, and all that they have started, have ended."""
    processes = with_descendants(started)
    ray.shutdown()
    until = time.monotonic() + _END_SECONDS
    while (left := {one for one in processes if one.is_alive()}) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    for one in left:
        with suppress(OSError):
            os.kill(one.pid, signal.SIGKILL)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
