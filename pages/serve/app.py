"""The page that answers, and the JSON beside it: who asks gets names and probabilities, or a sentence."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from curate.defaults import DEFAULT_TOP_K
from curate.errors import UserError
from curate.image import FORMATS, MAX_PIXELS, BrokenImage
from curate.printable import shown
from curate.program import __version__
from pages.html import html, static_files, static_text
from pages.refusals import refused, refused_by_framework, refused_with
from pages.serve.answering import BatchedPredictor, Explained
from pages.serve.room import BusyError, Held, Room
from pages.serve.uploads import Upload, pass_over, uploads_of
from train.metrics import Accuracy
from train.predict import Prediction, Predictor

_AGAIN: Final = "1"  # second after which it is worth asking again
_BUSY: Final = "Too many pictures are under way: ask again in a second."
_HELD: Final = 512 << 20  # bytes of all uploads together
_PLACES: Final = 4  # digits of a map's numbers


@dataclass(frozen=True)
class UploadLimits:
    """What one request may bring, and what all of them together."""

    most_bytes: int  # of one request
    most_pictures: int  # of one request
    most_waiting: int  # pictures of all requests that are read and not answered


class PictureServer:
    """Answers requests about one checkpoint."""

    def __init__(self, predictor: Predictor, file: Path, limits: UploadLimits) -> None:
        self.predictor, self.file, self.limits = predictor, file, limits
        self.answering = BatchedPredictor(predictor)
        self.room = Room(limits.most_waiting, max(_HELD, 2 * limits.most_bytes))

    def app(self) -> Starlette:
        """The application, without the guard that belongs before it."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/api/classes", self.classes),
                Route("/api/predict", self.predict, methods=["POST"]),
                Route("/api/explain", self.explain, methods=["POST"]),
                Route("/openapi.json", self.description),
                Route("/healthz", self.health),
                Mount("/static", static_files()),
            ],
            exception_handlers={HTTPException: refused_by_framework, UserError: _cannot, Exception: _defect},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.answering.start()
        try:
            yield
        finally:
            await run_in_threadpool(self.answering.stop)

    async def page(self, _request: Request) -> Response:
        """The page for people."""
        valid = self.predictor.checkpoint.metrics.get("valid")
        settings = {
            "most_bytes": self.limits.most_bytes, "most_pictures": self.limits.most_pictures, "top_k": DEFAULT_TOP_K,
        }  # fmt: skip
        return HTMLResponse(
            html("serve.html", file=self.file.name, classes=len(self.predictor.checkpoint.labels),
                 valid=_in_words(valid), settings=json.dumps(settings), formats=", ".join(FORMATS))
        )  # fmt: skip

    async def classes(self, _request: Request) -> Response:
        """What the checkpoint knows, and how well."""
        checkpoint = self.predictor.checkpoint
        valid = checkpoint.metrics.get("valid")
        return JSONResponse({
            "checkpoint": self.file.name,
            "classes": [
                {"label": label, "name": name} for label, name in zip(checkpoint.labels, checkpoint.names, strict=True)
            ],
            "valid": None if valid is None else {
                "accuracy": valid.top1, "pictures": valid.n, "low": valid.interval.low, "high": valid.interval.high,
            },
            "views": self.predictor.views.count,
            "networks": [one.name for one in checkpoint.backbones],
            "created": checkpoint.created,
        })  # fmt: skip

    async def predict(self, request: Request) -> Response:
        """Names and probabilities of each picture."""
        top_k = _top_k(request)

        async def answer(uploads: list[Upload]) -> Response:
            with self.room.taken(len(uploads)):
                asked = [self.answering.predict(one.data, one.name, top_k) for one in uploads]
                answers = [await one for one in asked]
            found = [_as_json(one.name, said) for one, said in zip(uploads, answers, strict=True)]
            if all("error" in one for one in found):
                return self._unread(found)
            return JSONResponse({"checkpoint": self.file.name, "pictures": found})

        return await self._read(request, self.limits.most_pictures, answer)

    async def explain(self, request: Request) -> Response:
        """What in one picture spoke for a class: a JPEG, or numbers."""
        label, form = request.query_params.get("class"), request.query_params.get("format", "jpeg")
        if form not in {"jpeg", "json"}:
            raise HTTPException(400, f"The format {shown(form)} is unknown: ask for jpeg or json.")
        if label is not None and label not in self.predictor.checkpoint.labels:
            raise HTTPException(400, f"The checkpoint knows no class {shown(label)}: /api/classes lists them.")

        async def answer(uploads: list[Upload]) -> Response:
            (upload,) = uploads
            with self.room.taken(1):
                try:
                    found = await self.answering.explain(upload.data, upload.name, label, DEFAULT_TOP_K)
                except BrokenImage as broken:
                    return self._unread([_as_json(upload.name, broken)])
            return self._explained(upload, found, as_numbers=form == "json")

        return await self._read(request, 1, answer)

    def _unread(self, found: list[dict[str, Any]]) -> Response:
        """Nothing of what was sent could be read."""
        return refused_with({"error": found[0]["error"], "checkpoint": self.file.name, "pictures": found}, 422)

    def _explained(self, upload: Upload, found: Explained, *, as_numbers: bool) -> Response:
        if not as_numbers:
            state = "drawn" if found.heat.values.any() else "empty"
            return Response(found.drawn, media_type="image/jpeg", headers={"heat-map": state})
        label = found.heat.label
        return JSONResponse({
            "checkpoint": self.file.name,
            "picture": _as_json(upload.name, found.prediction),
            "class": {"label": label, "name": self.predictor.checkpoint.name_of(label)},
            "box": found.heat.box,
            "heat": found.heat.scaled().round(_PLACES).tolist(),
        })  # fmt: skip

    async def description(self, _request: Request) -> Response:
        """The OpenAPI description of all this, with the limits that hold here."""
        plain: dict[str, Any] = json.loads(static_text("serve/openapi.json"))
        plain["info"]["version"] = __version__
        plain["info"]["description"] += (
            f" Here a request may have {self.limits.most_bytes:,} bytes and {self.limits.most_pictures:,} pictures of "
            f"{MAX_PIXELS:,} pixels each."
        )
        return JSONResponse(plain)

    async def health(self, _request: Request) -> Response:
        """Whether pictures are answered; it needs no token."""
        alive = self.answering.is_alive
        return JSONResponse({"status": "ok" if alive else "the network has stopped"}, 200 if alive else 503)

    async def _read(
        self, request: Request, most: int, answer: Callable[[list[Upload]], Awaitable[Response]]
    ) -> Response:
        """Read a request's pictures and have them answered, where there is room for both."""
        held = Held(self.room)
        try:
            self.room.require_some()
            return await answer(await uploads_of(request, most, held))
        except BusyError:
            await pass_over(request)  # who is reset while sending would never see the answer
            return refused(503, _BUSY, {"retry-after": _AGAIN})
        finally:
            held.release()


def _top_k(request: Request) -> int:
    given = request.query_params.get("top_k", str(DEFAULT_TOP_K))
    if not (given.isascii() and given.isdigit() and 0 < len(given) < 7 and int(given) > 0):
        raise HTTPException(400, f"The top_k {shown(given)} is none: give a whole number from 1 on.")
    return int(given)


def _as_json(name: str, answer: Prediction | BrokenImage) -> dict[str, Any]:
    if isinstance(answer, BrokenImage):
        return {"name": name, "error": _sentence(answer)}
    return {
        "name": name,
        "guesses": [asdict(guess) for guess in answer.guesses],
        "sure": answer.sure,
        "familiarity": answer.familiarity,
        "like_no_class": answer.is_stranger,
    }


def _sentence(broken: BrokenImage) -> str:
    return f"No picture can be read: {broken.reason}."


def _in_words(valid: Accuracy | None) -> str:
    return "" if valid is None else f"{valid.percent()}% of {valid.n:,} valid pictures right"


async def _cannot(_request: Request, error: Exception) -> Response:
    return refused(500, str(error))


async def _defect(_request: Request, _error: Exception) -> Response:
    return refused(500, "Something went wrong here; what, the server has said on its terminal.")
