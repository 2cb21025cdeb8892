"""Pictures → answers: decoded in threads, and computed together by the few threads that ask the network."""

import asyncio
import io
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final

import torch
from PIL import Image

from curate.image import BrokenImage, decode
from curate.parallel import processors
from curate.rendering import thumbnail
from train.explaining import HeatMap
from train.heat_plot import overlay
from train.predict import Prediction, Predictor, PreparedPicture

_SIDE: Final = 768  # pixels of a drawn map's longer side at most
_QUALITY: Final = 90  # of the JPEG that a drawn map is


@dataclass(frozen=True, eq=False)
class Explained:
    """A picture's first guesses, and the map for one class: as numbers, and drawn over the picture as a JPEG."""

    prediction: Prediction
    heat: HeatMap
    drawn: bytes


@dataclass(frozen=True, eq=False)
class _Asked:
    """A decoded picture that waits for its answer."""

    prepared: PreparedPicture
    top_k: int
    answer: "asyncio.Future[Prediction | BrokenImage]"


@dataclass(frozen=True, eq=False)
class _Task:
    """Something else that the network is wanted for."""

    work: Callable[[], Any]
    answer: "asyncio.Future[Any]"


class BatchedPredictor:
    """A predictor that many ask at once, between `start` and `stop`, from one event loop.

    As many threads ask it as `train.device.askers_of` says. On processors each asks about one picture at a time. A GPU
    computes several together: what is decoded while it is at work is its next batch, and it waits for a picture that is
    being decoded, for `patience` seconds at most, and for nothing else: who asks alone is answered at once.
    """

    def __init__(
        self, predictor: Predictor, *, most: int = 0, patience: float = 0.003, askers: int = 0, decoders: int = 0
    ) -> None:
        """`most` pictures are computed together; 0 of them, `askers` or `decoders` is what the machine is made for."""
        self.predictor = predictor
        self.most, self.patience = most or predictor.together, patience
        self._queue: SimpleQueue[_Asked | _Task | None] = SimpleQueue()
        self._decoding = 0  # pictures that will be in the queue soon; changed under the lock
        self._lock = threading.Lock()
        self._decoders = ThreadPoolExecutor(decoders or processors(), thread_name_prefix="decode")
        self._askers = [
            threading.Thread(target=self._ask, name="network", daemon=True) for _ in range(askers or predictor.askers)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """To be called in the event loop that will ask."""
        self._loop = asyncio.get_running_loop()
        for asker in self._askers:
            asker.start()

    def stop(self) -> None:
        """Return when all that was asked is answered."""
        self._decoders.shutdown()
        for _ in self._askers:
            self._queue.put(None)
        for asker in self._askers:
            asker.join()

    @property
    def is_alive(self) -> bool:
        """Whether all who ask the network are there."""
        return all(asker.is_alive() for asker in self._askers)

    def predict(self, data: bytes, name: str, top_k: int) -> "asyncio.Future[Prediction | BrokenImage]":
        """The likeliest classes of a file's bytes, or why there are none."""
        assert self._loop is not None
        answer: asyncio.Future[Prediction | BrokenImage] = self._loop.create_future()
        with self._lock:
            self._decoding += 1
        self._decoders.submit(self._decode, data, name, top_k, answer)
        return answer

    async def explain(self, data: bytes, name: str, label: str | None, top_k: int) -> Explained:
        """What in a picture spoke for `label`, or for its first guess; raises BrokenImage and UserError."""
        assert self._loop is not None
        predictor = self.predictor
        prediction = await self.predict(data, name, top_k)
        if isinstance(prediction, BrokenImage):
            raise prediction
        wanted = prediction.guesses[0].label if label is None else label
        picture = await self._loop.run_in_executor(self._decoders, self._whole, data, name)
        task = _Task(lambda: predictor.explain(picture, wanted), self._loop.create_future())
        self._queue.put(task)
        heat: HeatMap = await task.answer
        drawn = await self._loop.run_in_executor(self._decoders, _drawn, data, name, heat)
        return Explained(prediction, heat, drawn)

    def _whole(self, data: bytes, name: str) -> Image.Image:
        return decode(data, path=name, at_least=self.predictor.at_least).pixels

    def _decode(self, data: bytes, name: str, top_k: int, answer: "asyncio.Future[Prediction | BrokenImage]") -> None:
        """In a thread: on to the network, or back with what is wrong."""
        try:
            asked = _Asked(self.predictor.prepare(data, name), top_k, answer)
        except BrokenImage as broken:
            self._tell([(answer, broken)])
        except BaseException as error:
            self._tell([(answer, error)])
        else:
            self._queue.put(asked)
        finally:
            with self._lock:
                self._decoding -= 1

    def _ask(self) -> None:
        """A thread that asks the network."""
        torch.set_num_threads(self.predictor.threads)  # this thread's
        waiting: deque[_Asked | _Task | None] = deque()
        while True:
            first = waiting.popleft() if waiting else self._queue.get()
            if first is None:
                return
            if isinstance(first, _Task):
                self._do(first)
            else:
                self._answer([first, *self._joining(waiting)])

    def _joining(self, waiting: "deque[_Asked | _Task | None]") -> list[_Asked]:
        """Who comes in time to be computed with the first; what is of another kind goes to `waiting`."""
        found: list[_Asked] = []
        deadline = monotonic() + self.patience
        while len(found) < self.most - 1:
            try:
                another = self._queue.get_nowait()
            except Empty:
                left = deadline - monotonic()
                if left <= 0 or not self._decoding:
                    return found
                try:
                    another = self._queue.get(timeout=left)
                except Empty:
                    return found
            if not isinstance(another, _Asked):
                waiting.append(another)
                return found
            found.append(another)
        return found

    def _answer(self, batch: list[_Asked]) -> None:
        try:
            top_k = max(one.top_k for one in batch)
            answers = self.predictor.answer([one.prepared for one in batch], top_k=top_k)
        except BaseException as error:
            self._tell([(one.answer, error) for one in batch])
            return
        self._tell([
            (one.answer, answer if isinstance(answer, BrokenImage) else _cut(answer, one.top_k))
            for one, answer in zip(batch, answers, strict=True)
        ])  # fmt: skip

    def _do(self, task: _Task) -> None:
        try:
            self._tell([(task.answer, task.work())])
        except BaseException as error:
            self._tell([(task.answer, error)])

    def _tell(self, answers: "list[tuple[asyncio.Future[Any], Any]]") -> None:
        """Hand answers over to the event loop, all at once: it is woken for each call."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: "list[tuple[asyncio.Future[Any], Any]]") -> None:
    for future, answer in answers:
        if future.done():  # nobody waits for it any more
            continue
        if isinstance(answer, BaseException) and not isinstance(answer, BrokenImage):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _cut(prediction: Prediction, top_k: int) -> Prediction:
    return prediction if len(prediction.guesses) <= top_k else replace(prediction, guesses=prediction.guesses[:top_k])


def _drawn(data: bytes, name: str, heat: HeatMap) -> bytes:
    picture = decode(data, path=name, at_least=_SIDE).pixels  # sharper than what the network is given
    stream = io.BytesIO()
    overlay(thumbnail(picture, _SIDE, _SIDE), heat).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()
