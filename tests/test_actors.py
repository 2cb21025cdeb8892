"""Actors answer whatever becomes of them: one out of reach is asked again, and one that dies for good is said."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from curate.engine import actors
from curate.engine.actors import ActorPool, Holder
from curate.errors import UserError

ray = pytest.importorskip("ray")


class Scripted:
    """What is asked of Ray, in this process: `fate(method)` may raise before an actor's method is called."""

    exceptions = ray.exceptions

    def __init__(self, fate: Callable[[str], None], count: int = 2) -> None:
        self.fate, self.count, self.killed = fate, count, 0

    def ray(self) -> "Scripted":
        return self

    def put(self, value: Any) -> Any:
        return value

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "ab" * 28, "Alive": True, "Resources": {"CPU": float(self.count)}}]

    def remote(self, holder: type[Holder]) -> Any:
        def start() -> SimpleNamespace:
            held = holder()
            return SimpleNamespace(ready=self.method(held, "ready"), call=self.method(held, "call"))

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def method(self, held: Holder, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *arguments: Asked(lambda: getattr(held, name)(*arguments), name))

    def wait(self, asked: list["Asked"], **_: object) -> tuple[list["Asked"], list["Asked"]]:
        return asked[:1], asked[1:]

    def get(self, asked: "Asked") -> Any:
        self.fate(asked.name)
        return asked.answer()

    def kill(self, _: object) -> None:
        self.killed += 1


class Asked:
    def __init__(self, answer: Callable[[], Any], name: str) -> None:
        self.answer, self.name = answer, name


def doubled() -> Callable[[int], int]:
    return lambda number: 2 * number


def answers(scripted: Scripted, numbers: range) -> dict[Any, Any]:
    with ActorPool(scripted, doubled, on_gpus=False) as pool:  # type: ignore[arg-type]
        found = []
        for number in numbers:
            pool.submit(number, number)
            found += pool.done()
        found += pool.finish()
    assert scripted.killed == scripted.count
    assert len(found) == len(numbers), "an answer was given twice"
    return dict(found)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "_REST_SECONDS", 0.0)


def test_all_are_answered_once() -> None:
    assert answers(Scripted(lambda _: None), range(40)) == {number: 2 * number for number in range(40)}


def test_one_out_of_reach_is_asked_again_for_as_long_as_it_takes() -> None:
    """A machine that is killed is out of reach for half a minute, until Ray knows that it is dead."""
    left = {"ready": 60, "call": 30}

    def fate(name: str) -> None:
        left[name] -= 1
        if left[name] >= 0:
            raise ray.exceptions.ActorUnavailableError("The actor is temporarily unavailable.", b"a" * 16)

    assert answers(Scripted(fate), range(20)) == {number: 2 * number for number in range(20)}


def test_an_actor_that_dies_loses_nothing() -> None:
    calls = []

    def fate(name: str) -> None:
        calls.append(name)
        if name == "call" and len(calls) % 7 == 0:
            raise ray.exceptions.RayActorError

    assert answers(Scripted(fate), range(50)) == {number: 2 * number for number in range(50)}
    assert calls.count("call") > 50


def test_actors_that_die_again_and_again_are_said() -> None:
    def fate(name: str) -> None:
        raise ray.exceptions.RayActorError

    with pytest.raises(UserError, match="die again and again, as happens where memory runs out"):
        answers(Scripted(fate), range(3))


def test_what_the_held_thing_raises_is_raised_here() -> None:
    def refusing() -> Callable[[int], int]:
        raise UserError("One picture alone does not fit the memory.")

    with (
        pytest.raises(UserError, match="does not fit"),
        ActorPool(Scripted(lambda _: None), refusing, on_gpus=False) as pool,  # type: ignore[arg-type]
    ):
        pool.submit(1, 1)


def test_a_cluster_without_processors_is_said() -> None:
    with pytest.raises(UserError, match="has no processor: start a machine that has one, or choose another --device"):
        answers(Scripted(lambda _: None, count=0), range(3))
