"""The same answers on Ray: tasks read and decode files, and actors, each with the checkpoint, say what is in them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

from curate.deadly import crash_at
from curate.engine.actors import ActorPool
from curate.engine.engines import current_engine
from curate.engine.parts import ordered_parts
from curate.engine.ray_engine import RayEngine, require_seen
from curate.forked import map_guarded
from curate.image import BrokenImage
from train.calibration import Abstention
from train.checkpoint import Checkpoint
from train.features.preprocessing import Preprocessing
from train.features.views import Views
from train.predict import Prediction, Predictor, PreparedPicture, load_picture

_PART: Final = 16  # files that one task reads
_PARTS_AHEAD: Final = 4  # for each actor

File = Path | BrokenImage


def answers_on_ray(predictor: Predictor, files: Iterable[File], top_k: int) -> Iterator[Prediction | BrokenImage]:
    """As `Predictor.predict_files`, on the engine Ray."""
    engine = cast(RayEngine, current_engine())
    make = partial(
        AnswersAtWork, predictor.checkpoint, predictor.device.type, predictor.views.count, predictor.abstention,
        predictor.threads, top_k,
    )  # fmt: skip
    decode = partial(_decode, predictor.views, predictor.preprocessings)
    with ActorPool(engine, make, on_gpus=predictor.device.type == "cuda", threads=predictor.threads) as pool:
        waiting, answers = deque[tuple[int, list[BrokenImage | None]]](), dict[int, list[Any]]()
        decoded = ordered_parts(engine, decode, _parts(files), ahead=_PARTS_AHEAD * pool.size)
        for number, (broken, held) in enumerate(decoded):
            waiting.append((number, broken))
            pool.submit(number, held)
            answers.update(cast(Any, pool.done()))
            while waiting and waiting[0][0] in answers:
                yield from _in_order(waiting.popleft(), answers)
        answers.update(cast(Any, pool.finish()))
        for one in waiting:
            yield from _in_order(one, answers)


class AnswersAtWork:
    """What an actor holds: the checkpoint, made ready."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device_type: str,
        views: int,
        abstention: Abstention | None,
        threads: int,
        top_k: int,
    ) -> None:
        self._predictor = Predictor(checkpoint, device_type, views=views)
        # As many threads as where it was asked: libraries add up otherwise with another number
        self._predictor.abstention, self._predictor.threads = abstention, threads
        self._top_k = top_k

    def __call__(self, pictures: Sequence[PreparedPicture]) -> list[Prediction | BrokenImage]:
        """One answer for each picture, in order."""
        left, answers = iter(pictures), list[Prediction | BrokenImage]()
        while group := list(islice(left, self._predictor.together)):
            answers += self._predictor.answer(group, top_k=self._top_k)
        return answers


def _parts(files: Iterable[File]) -> Iterator[list[File]]:
    left = iter(files)
    while part := list(islice(left, _PART)):
        yield part


def _decode(
    views: Views, preprocessings: Sequence[Preprocessing], part: Sequence[File]
) -> tuple[list[BrokenImage | None], list[PreparedPicture]]:
    """(for each file why there are no pixels, or None; the pictures that have some)."""
    load: Callable[[File], PreparedPicture | BrokenImage] = partial(
        load_picture, views=views, preprocessings=preprocessings
    )
    found = map_guarded(load, part, _crashed)
    broken = [one if isinstance(one, BrokenImage) else None for one in found]
    return broken, [one for one in found if not isinstance(one, BrokenImage)]


def _crashed(file: File, exit_code: int) -> BrokenImage:
    path = Path(file.path if isinstance(file, BrokenImage) else file)
    return BrokenImage(str(path), crash_at(path, exit_code))


def _in_order(
    part: tuple[int, list[BrokenImage | None]], answers: dict[int, list[Any]]
) -> Iterator[Prediction | BrokenImage]:
    number, broken = part
    given = iter(answers.pop(number))
    for one in broken:
        if one is not None:
            require_seen(Path(one.path), one.reason)
        yield next(given) if one is None else one
