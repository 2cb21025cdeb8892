"""The page's application: addresses, the threads that answer them, and how a mistake is said."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from curate.carry_out import carry_out
from curate.decisions import Overtaken
from curate.errors import UserError
from curate.files.lock import Busy
from pages.guard import Access, Guard
from pages.html import html, static_files
from pages.refusals import refused, refused_by_framework
from pages.review.desk import MOST_ITEMS, Departed, Desk, Gone
from pages.review.likeness import Likeness
from pages.review.requests import (
    BadRequest,
    asked,
    count,
    identifiers,
    json_of,
    number,
    text,
    wanted,
)
from pages.review.thumbnails import SIDES, Drawn, Thumbnails, placeholder, whole
from pages.review.view import Unprocessable

_DECODERS: Final = 2
"""Threads that decode pictures: each may need the memory of a large one."""

_DEFAULT_ITEMS: Final = 200
_DEFAULT_BATCHES: Final = 50
_DEFAULT_ALIKE: Final = 60

P = ParamSpec("P")
T = TypeVar("T")


class Review:
    """One dataset's page. `open_desk` is called in the thread in which all questions are answered; `bank` is the folder
    of the feature bank.
    """

    def __init__(self, open_desk: Callable[[], Desk], bank: Path) -> None:
        self._open_desk = open_desk
        self._likeness = Likeness(bank)
        self._comparing = ThreadPoolExecutor(1, "likeness")
        self._thinking = ThreadPoolExecutor(1, "review")
        self._drawing = ThreadPoolExecutor(_DECODERS, "thumbnails")
        self._desk: Desk | None = None
        self._thumbnails: Thumbnails | None = None

    def start(self) -> None:
        """Open the catalog and read what there is. Raises `UserError` where that cannot be."""
        self._desk = self._thinking.submit(self._open_desk).result()
        self._thumbnails = Thumbnails(self._desk.dataset.home)

    def stop(self) -> None:
        """End the threads, and close the catalog."""
        self._likeness.stop()
        self._comparing.shutdown()
        self._drawing.shutdown()
        if self._desk is not None:
            self._thinking.submit(self._desk.close).result()
        self._thinking.shutdown()

    @property
    def desk(self) -> Desk:
        """Who knows the answers; to be asked in its own thread alone."""
        assert self._desk is not None, "not started"
        return self._desk

    async def _ask(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        work = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._thinking, work)

    def application(self, access: Access) -> ASGIApp:
        """The application, with what stands before it: before answers to what fails, too."""
        get = [
            ("/", self.page), ("/api/state", self.state), ("/api/queue/{queue}", self.queue),
            ("/api/ids/{queue}", self.ids), ("/api/items", self.items), ("/api/changes", self.changes),
            ("/api/history", self.history), ("/api/picture/{id}", self.about), ("/api/alike/{id}", self.alike),
            ("/api/map", self.map), ("/thumb/{id}", self.thumb), ("/picture/{id}", self.picture),
        ]  # fmt: skip
        post = [("/api/decide", self.decide), ("/api/undo", self.undo), ("/api/carry-out", self.carry_out)]
        app = Starlette(
            routes=[
                *(Route(path, _said(answer), methods=["GET"]) for path, answer in get),
                *(Route(path, _said(answer), methods=["POST"]) for path, answer in post),
                Mount("/static", static_files()),
            ],
            exception_handlers={HTTPException: refused_by_framework, Exception: _failed},
            lifespan=self._lifespan,
        )
        return Guard(app, access)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.get_running_loop().run_in_executor(None, self.stop)

    async def page(self, _: Request) -> Response:
        """The page itself, which asks for everything that it shows."""
        return HTMLResponse(html("review.html"))

    async def state(self, _: Request) -> Any:
        """What is shown around the pictures."""
        return await self._ask(self.desk.state)

    async def queue(self, request: Request) -> Any:
        """A part of a queue."""
        query = request.query_params
        offset, limit = number(query, "offset", 0), number(query, "limit", _DEFAULT_ITEMS, MOST_ITEMS)
        return await self._ask(self.desk.page, request.path_params["queue"], wanted(query), offset, limit)

    async def ids(self, request: Request) -> Any:
        """The identifiers of all that a queue shows."""
        return await self._ask(self.desk.identifiers, request.path_params["queue"], wanted(request.query_params))

    async def items(self, request: Request) -> Any:
        """Pictures by their identifiers."""
        query = request.query_params
        return await self._ask(self.desk.items, query.get("queue") or "all", identifiers(query))

    async def changes(self, request: Request) -> Any:
        """What was decided since."""
        query = request.query_params
        return await self._ask(self.desk.changes, number(query, "since", 0), query.get("queue") or "all")

    async def history(self, request: Request) -> Any:
        """The batches."""
        query = request.query_params
        limit = number(query, "limit", _DEFAULT_BATCHES, MOST_ITEMS)
        return await self._ask(self.desk.history, number(query, "offset", 0), limit)

    async def about(self, request: Request) -> Any:
        """All that is known of one picture."""
        queue = request.query_params.get("queue") or "all"
        return await self._ask(self.desk.picture, request.path_params["id"], queue)

    async def alike(self, request: Request) -> Any:
        """The pictures most like one, by the feature bank."""
        limit = number(request.query_params, "limit", _DEFAULT_ALIKE, MOST_ITEMS)
        gallery = self.desk.gallery
        self.desk.place_of(request.path_params["id"])
        found = await self._compare(self._likeness.alike, gallery, gallery.by_id[request.path_params["id"]], limit)
        items = await self._ask(self.desk.items, "all", [gallery.ids[one] for one in found.numbers])
        return {"items": items["items"], "why": found.why}

    async def map(self, _: Request) -> Any:
        """All pictures as points."""
        return await self._compare(self._likeness.map, self.desk.gallery)

    async def _compare(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """In a thread of its own: to read a bank takes seconds, in which decisions are answered."""
        work = partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._comparing, work)

    async def carry_out(self, request: Request) -> Any:
        """Say what carrying out would do, or do it."""
        values = await json_of(request)
        if type(values.get("dry")) is not bool:
            raise BadRequest('"dry" has to be true or false.')
        if values["dry"]:
            return await self._ask(self.desk.intended)
        self.desk.require_here()
        token = text(values, "token")
        lines = await self._ask(lambda: self.desk.lines)
        work = partial(carry_out, self.desk.dataset.root, lines, token, self.desk.who)
        try:
            done = await asyncio.get_running_loop().run_in_executor(None, work)
        except Overtaken as error:
            return JSONResponse({"error": str(error)}, 409)
        state = await self._ask(self.desk.state)
        return {
            "moved": done.moved,
            "relabelled": done.relabelled,
            "restored": done.restored,
            "unmoved": done.unmoved,
            "finished": done.finished,
            "lapsed": [str(lapse) for lapse in done.lapsed],
            "revision": state["revision"],
        }

    async def decide(self, request: Request) -> Any:
        """Put decisions on record."""
        ask = asked(await json_of(request))
        return await self._or_overtaken(self.desk.decide, ask, queue=ask.queue or "all")

    async def undo(self, request: Request) -> Any:
        """Take a batch back."""
        values = await json_of(request)
        queue = text(values, "queue") or "all"
        return await self._or_overtaken(self.desk.undo, count(values, "batch"), queue, queue=queue)

    async def _or_overtaken(self, function: Callable[..., Any], *arguments: Any, queue: str) -> Any:
        """The answer or, where somebody decided meanwhile, 409 with the pictures as they are now."""
        try:
            return await self._ask(function, *arguments)
        except Overtaken as error:
            items = await self._ask(self.desk.shown_of, error.keys, queue)
            return JSONResponse({"error": str(error), "items": items}, 409)

    async def thumb(self, request: Request) -> Response:
        """A small picture."""
        side = number(request.query_params, "size", SIDES[0], SIDES[-1])
        if side not in SIDES:
            raise BadRequest(f'"size" has to be one of {", ".join(map(str, SIDES))}.')
        assert self._thumbnails is not None
        return await self._drawn(request, f"{side}", partial(self._thumbnails.of, side=side))

    async def picture(self, request: Request) -> Response:
        """A whole picture, of a size that a screen shows."""
        return await self._drawn(request, "whole", whole)

    async def _drawn(self, request: Request, what: str, draw: Callable[..., Drawn]) -> Response:
        self.desk.require_here()
        place = self.desk.place_of(request.path_params["id"])
        etag = f'"{what}-{place.sha256[:32]}"'
        headers = {"cache-control": "private, max-age=86400", "etag": etag}
        if place.is_whole and etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if place.is_whole:
            loop = asyncio.get_running_loop()
            drawn = await loop.run_in_executor(self._drawing, partial(draw, place.root, place.path, place.sha256))
        else:
            drawn = placeholder(SIDES[-1])
        return Response(drawn.data, media_type=drawn.kind, headers=headers if drawn.is_certain else None)


def _said(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers with JSON, and says in a sentence what cannot be done."""

    @wraps(answer)
    async def endpoint(request: Request) -> Response:
        try:
            found = await answer(request)
        except BadRequest as error:
            return refused(error.status, str(error))
        except Busy as error:
            return refused(423, str(error))
        except Unprocessable as error:
            return refused(422, str(error))
        except Departed as error:
            return refused(410, str(error))
        except Gone as error:
            return refused(404, str(error))
        except UserError as error:
            return refused(400, str(error))
        return found if isinstance(found, Response) else JSONResponse(found)

    return endpoint


async def _failed(_: Request, __: Exception) -> Response:
    return refused(500, "This is a defect of the program: what it printed in its terminal says where.")
