"""How long answers take on this machine, from a picture's file to its probabilities."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from train.checkpoint import Checkpoint
from train.predict import Predictor

Answer = TypeVar("Answer")

PICTURES_TIMED: Final = 16
"""Pictures whose answers are timed: a second for a small network, ten for a large one on processors."""


def timed(answers: Iterable[Answer]) -> Iterator[tuple[Answer, float]]:
    """Each answer, and the seconds that it was waited for.

    What is done with an answer does not count, so all of them together are the time that answering took.
    """
    asked = time.perf_counter()
    for answer in answers:
        yield answer, time.perf_counter() - asked
        asked = time.perf_counter()


def seconds_of_answer(checkpoint: Checkpoint, files: Sequence[Path], views: int, device: str) -> float:
    """Mean seconds of an answer from so many views, reading included, over `files` after a first one to warm up.

    `files` are one or more. Raises UserError as `Predictor` does.
    """
    predictor = Predictor(checkpoint, device, views=views)
    for _ in predictor.predict_files(files[:1]):
        pass
    return sum(seconds for _, seconds in timed(predictor.predict_files(files))) / len(files)
