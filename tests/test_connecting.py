"""How one comes to Ray: by `--engine`, and by an address at which somebody answers."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from curate.defaults import parse_engine
from curate.engine.connecting import connected
from curate.errors import UserError


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ("local", ("local", None)),
        ("ray", ("ray", None)),
        ("ray:auto", ("ray", "auto")),
        ("ray:10.0.0.1:6379", ("ray", "10.0.0.1:6379")),
        ("ray:[::1]:6379", ("ray", "[::1]:6379")),
    ],
)
def test_an_engine_is_named_by_its_word_and_address(text: str, engine: tuple[str, str | None]) -> None:
    assert parse_engine(text) == engine


@pytest.mark.parametrize(
    "text", ["", "Ray", "dask", "local:1", "ray:", "ray:host", "ray:host:", "ray::6379", "ray:ray://host:10001"]
)
def test_another_word_is_no_engine(text: str) -> None:
    with pytest.raises(UserError, match="give local, ray, ray:HOST:PORT, or ray:auto"):
        parse_engine(text)


def test_without_its_extra_ray_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs the package ray, .* `uv sync --extra ray`"), connected(None):
        raise AssertionError("there is nothing to be connected to")


def test_an_address_where_nobody_answers_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(UserError, match=f"No Ray cluster answers at '{address}' .*`ray start --head`"),
        connected(address),
    ):
        raise AssertionError("there is nothing to be connected to")
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    assert signal.getsignal(signal.SIGTERM) == on_sigterm


def test_a_cluster_that_cannot_be_joined_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(address: str, **_: object) -> None:
        raise ConnectionError(f"Could not find any running Ray instance at {address}.\nMore of it.")

    monkeypatch.setattr(ray, "init", init)
    said = r"The Ray cluster at 'auto' can't be joined \(Could not find .* at auto\): run this on one of its machines"
    with pytest.raises(UserError, match=said), connected("auto"):
        raise AssertionError("there is nothing to be connected to")


def test_a_cluster_that_does_not_start_is_said_and_its_folder_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    folders = []

    def init(_address: str, *, _temp_dir: str, **_: object) -> None:
        folders.append(Path(_temp_dir))
        raise Exception("The current node timed out during startup. This could happen.")

    monkeypatch.setattr(ray, "init", init)
    said = r"Ray can't be started on this machine: The current node timed out during startup\. This could happen\."
    with pytest.raises(UserError, match=said), connected(None):
        raise AssertionError("there is nothing to be connected to")
    assert len(folders) == 1
    assert not folders[0].exists()
