"""Actors on Ray that each hold something costly, such as a network: one for each processor, or GPU, of the cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from curate.engine.ray_engine import ray_in_words
from curate.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from curate.engine.ray_engine import RayEngine

_IN_HAND: Final = 2  # calls that an actor holds, so that it need not wait for us
_REST_SECONDS: Final = 0.5
_DEATHS: Final = 5  # that a call may outlive, or an actor before it is ready


class Holder:
    """What runs in an actor's process: it holds what it was told to make, and calls it."""

    def __init__(self) -> None:
        self._held: Callable[..., Any] | None = None

    def ready(self, make: Callable[[], Callable[..., Any]]) -> tuple[bool, Any]:
        """Make what is to be held: (True, None) or, as `call` does, what is raised as a value: (False, error)."""
        try:
            self._held = self._held or make()
        except Exception as error:
            return False, error
        return True, None

    def call(self, *arguments: Any) -> tuple[bool | None, Any]:
        """(True, what the held thing gives for `arguments`); (None, None) where a new process holds nothing yet."""
        if self._held is None:
            return None, None
        try:
            return True, self._held(*arguments)
        except Exception as error:
            return False, error


class _Died(Exception):
    """An actor died before it had answered, or is out of reach; `for_good` tells which, as far as Ray knows yet."""

    def __init__(self, *, for_good: bool) -> None:
        super().__init__()
        self.for_good = for_good


@dataclass(eq=False)
class _Call:
    """Something to be done: `key` names it for whoever asked, `arguments` may be references to objects of Ray's."""

    key: Hashable
    arguments: tuple[Any, ...]
    deaths: int = 0


@dataclass(eq=False)
class _Actor:
    handle: Any
    is_ready: bool = False
    deaths: int = 0  # since it was ready last
    in_hand: set[Any] = field(default_factory=set)  # references of its calls that are not done


class ActorPool:
    """Actors that answer calls, in no certain order, inside a `with`.

    An actor whose process or machine dies is started anew by Ray, elsewhere where its machine is gone; what it had in
    hand another one does, and what it has answered stays. Ray would repeat a call by itself only on that same actor,
    and so wait for a GPU that may never come back.
    """

    def __init__(
        self, engine: RayEngine, make: Callable[[], Callable[..., Any]], *, on_gpus: bool, threads: int = 1
    ) -> None:
        """Each actor calls what `make` gives; on CPUs there is one for each `threads` processors of a machine."""
        self._ray = engine.ray()
        self._make = self._ray.put(make)
        self._actors: list[_Actor] = []
        self._running: dict[Any, tuple[_Actor, _Call | None]] = {}  # by reference; None: it is made ready
        self._resting: list[tuple[float, _Actor]] = []  # (when to ask again, one that was out of reach)
        self._waiting = deque[_Call]()
        self._done = deque[tuple[Hashable, Any]]()
        for options in self._places(on_gpus=on_gpus, threads=threads):
            self._hire(options)
        if not self._actors:
            what = "GPU" if on_gpus else "processor"
            raise UserError(f"The Ray cluster has no {what}: start a machine that has one, or choose another --device.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor.handle)

    @property
    def size(self) -> int:
        """How many actors there are."""
        return len(self._actors)

    def submit(self, key: Hashable, *arguments: Any) -> None:
        """Have an actor do something; waits as long as all have as much as they can hold. Raises what it raises."""
        self._waiting.append(_Call(key, arguments))
        self._hand_out()
        while self._waiting:
            self._wait()

    def done(self) -> list[tuple[Hashable, Any]]:
        """(key, result) of the calls that are done and have not been given yet."""
        found = list(self._done)
        self._done.clear()
        return found

    def finish(self) -> list[tuple[Hashable, Any]]:
        """The same, when all that was submitted is done."""
        while self._waiting or any(call for _, call in self._running.values()):
            self._wait()
        return self.done()

    def _places(self, *, on_gpus: bool, threads: int) -> list[dict[str, Any]]:
        """What Ray is told of each actor. None takes a processor from those that decode: they share them."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        places: list[dict[str, Any]] = []
        for node in self._ray.nodes():
            resources = node.get("Resources", {}) if node["Alive"] else {}
            if on_gpus:
                places += [{"num_gpus": 1}] * int(resources.get("GPU", 0))
            else:
                near = NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
                cpus = int(resources.get("CPU", 0))
                places += [{"scheduling_strategy": near}] * (max(1, cpus // threads) if cpus else 0)
        return places

    def _hire(self, options: dict[str, Any]) -> None:
        holder = self._ray.remote(Holder).options(num_cpus=0, max_restarts=-1, max_task_retries=0, **options)
        actor = _Actor(holder.remote())
        self._actors.append(actor)
        self._make_ready(actor)

    def _make_ready(self, actor: _Actor) -> None:
        actor.is_ready = False
        self._running[actor.handle.ready.remote(self._make)] = actor, None

    def _hand_out(self) -> None:
        """Give what waits to those that have the least in hand."""
        while self._waiting:
            ready = [actor for actor in self._actors if actor.is_ready and len(actor.in_hand) < _IN_HAND]
            if not ready:
                return
            actor, call = min(ready, key=lambda one: len(one.in_hand)), self._waiting.popleft()
            reference = actor.handle.call.remote(*call.arguments)
            actor.in_hand.add(reference)
            self._running[reference] = actor, call

    def _wait(self) -> None:
        """Wait until something is done, or has failed, or is to be asked again, and see to it."""
        now = time.monotonic()
        for due, actor in self._resting:
            if due <= now:
                self._make_ready(actor)
        self._resting = [(due, actor) for due, actor in self._resting if due > now]
        if not self._running:
            time.sleep(_REST_SECONDS)
            return
        timeout = _REST_SECONDS if self._resting else None
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        for reference in done:
            actor, call = self._running.pop(reference)
            actor.in_hand.discard(reference)
            self._take(actor, call, reference)
        self._hand_out()

    def _take(self, actor: _Actor, call: _Call | None, reference: Any) -> None:
        """Note an answer; raises what the held thing raised."""
        try:
            with ray_in_words(self._ray):
                is_result, found = self._answer(reference)
        except _Died as death:
            self._mourn(actor, call, for_good=death.for_good)
            return
        if is_result is None:
            self._mourn(actor, call, for_good=True)
        elif not is_result:
            raise found
        elif call is None:
            actor.is_ready, actor.deaths = True, 0
        else:
            self._done.append((call.key, found))

    def _answer(self, reference: Any) -> tuple[bool | None, Any]:
        try:
            answer: tuple[bool | None, Any] = self._ray.get(reference)
        except self._ray.exceptions.ActorUnavailableError as error:
            raise _Died(for_good=False) from error
        except self._ray.exceptions.RayActorError as error:
            raise _Died(for_good=True) from error
        return answer

    def _mourn(self, actor: _Actor, call: _Call | None, *, for_good: bool) -> None:
        """An actor is gone, which Ray starts anew: what it was asked others are asked, and first of all.

        Until Ray knows that a machine is dead, its actors are out of reach; they are asked again after a while.
        """
        if for_good:
            counted = actor if call is None else call
            counted.deaths += 1
            if counted.deaths > _DEATHS:
                raise UserError(
                    "The processes that hold the network on Ray die again and again, as happens where memory runs out: "
                    "give them more, and run the command again, which goes on from there."
                )
        if call is not None:
            self._waiting.appendleft(call)
        if actor.is_ready or call is None:
            actor.is_ready = False
            self._resting.append((time.monotonic() + _REST_SECONDS, actor))
