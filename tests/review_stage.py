"""A review server that holds its pictures in memory: as many, and as odd, as a test of the page wants."""

import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from pages.guard import Access, Guard, new_token
from pages.html import html, static_files
from pages.loopback import Listening, listen

QUEUES = (
    "proposals", "broken", "duplicate", "leak", "conflict", "quality", "irrelevant", "mislabelled", "outlier",
    "quarantine", "all",
)  # fmt: skip
CLUSTERED = {"duplicate", "leak", "conflict"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Staged:
    """One picture, and where it is queued."""

    path: str
    label: str
    queue: str = "all"
    reason: str = ""
    score: float | None = None
    detail: str = ""
    proposed: str = ""
    cluster: str = ""
    keeper: str = ""
    """The path of the copy that stays."""
    decision: Json | None = None

    @property
    def id(self) -> str:
        return identity(self.path) if self.path else ""


@cache
def identity(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass
class Stage:
    """The pictures and what was decided on them; `unreachable` answers nothing, as a server that is gone."""

    pictures: dict[str, Staged]
    classes: list[str]
    batches: list[Json] = field(default_factory=list)
    changed: list[tuple[int, str]] = field(default_factory=list)
    splits: tuple[str, ...] = ("raw", "train", "valid", "test")
    points: Json | None = None
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, pictures: list[Staged], **more: Any) -> "Stage":
        return cls({one.id: one for one in pictures}, sorted({one.label for one in pictures}), **more)

    @property
    def revision(self) -> int:
        return len(self.changed)

    def decide(self, ids: list[str], action: str, who: str = "tester", reason: str = "", label: str = "") -> int:
        """Decide as another tab would; the batch."""
        batch = len(self.batches) + 1
        before = {one: self.pictures[one].decision for one in ids}
        for one in ids:
            picture = self.pictures[one]
            verb, why, to = action, reason, label
            if action == "accept":
                verb, why, to = ("relabel", "", picture.proposed) if picture.proposed else ("aside", picture.reason, "")
            elif action == "aside":
                why = reason or picture.reason
            decision = {"batch": batch, "action": verb, "reason": why, "label": to, "who": who, "when": now()}
            self._put(one, decision)
        if action == "keeper":
            self._swap(ids[0])
        self.batches.append(
            {
                "batch": batch, "when": now(), "who": who, "action": action, "count": len(ids), "undone": False,
                "words": f"{action}: {len(ids)} pictures", "before": before,
            }
        )  # fmt: skip
        return batch

    def _swap(self, chosen: str) -> None:
        cluster = self.pictures[chosen].cluster
        path = self.pictures[chosen].path
        for one, picture in self.pictures.items():
            if cluster and picture.cluster == cluster:
                self.pictures[one] = replace(picture, keeper=path)
                self.changed.append((self.revision + 1, one))

    def _put(self, one: str, decision: Json | None) -> None:
        self.pictures[one] = replace(self.pictures[one], decision=decision)
        self.changed.append((self.revision + 1, one))

    def item(self, one: str) -> Json:
        picture = self.pictures[one]
        size = sum(other.cluster == picture.cluster for other in self.pictures.values()) if picture.cluster else 1
        return {
            "id": one, "path": picture.path, "label": picture.label, "split": picture.path.split("/")[0],
            "width": 640, "height": 480, "bytes": 54321, "format": "JPEG", "present": True, "reason": picture.reason,
            "score": picture.score, "detail": picture.detail, "proposed": picture.proposed,
            "keeper": identity(picture.keeper) if picture.keeper else "", "cluster": picture.cluster,
            "cluster_size": size, "source": "stage", "licence": "by", "decision": picture.decision,
        }  # fmt: skip

    def scores(self, name: str) -> list[float] | None:
        """The lowest and the highest score of a queue; None without scores."""
        found = [self.pictures[one].score for one in self.queue(name, {"state": "any"})]
        scores = [score for score in found if score is not None]
        return [min(scores), max(scores)] if scores else None

    def queue(self, name: str, asked: Json) -> list[str]:
        """The ids of a queue, filtered and sorted."""
        state, text = asked.get("state", "open"), asked.get("text", "")
        least, most = float(asked.get("score_min", 0)), float(asked.get("score_max", 1))
        scored = "score_min" in asked or "score_max" in asked

        def fits(picture: Staged) -> bool:
            in_queue = name == "all" or picture.queue == name or (name == "proposals" and proposes(picture))
            decided = picture.decision is not None
            return (
                in_queue
                and (state == "any" or decided == (state == "decided"))
                and asked.get("class", picture.label) == picture.label
                and asked.get("reason", picture.reason) == picture.reason
                and text in picture.path
                and (not scored or (picture.score is not None and least <= picture.score <= most))
            )

        found = [picture for picture in self.pictures.values() if fits(picture)]
        if asked.get("sort", "score") == "path":
            found.sort(key=lambda picture: picture.path, reverse=asked.get("descending") == "1")
        return [picture.id for picture in found]


def proposes(picture: Staged) -> bool:
    return bool(picture.reason or picture.proposed) and picture.path != picture.keeper


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


@cache
def drawn(hue: int, size: int) -> bytes:
    image = Image.new("HSV", (size, size * 3 // 4), (hue % 256, 110, 190)).convert("RGB")
    middle = Image.new("HSV", (size // 2, size // 3), ((hue * 7) % 256, 160, 240)).convert("RGB")
    image.paste(middle, (size // 4, size // 5))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=70)
    return stream.getvalue()


def application(stage: Stage) -> Starlette:  # noqa: C901 - a list of answers
    async def page(_: Request) -> Response:
        return HTMLResponse(html("review.html"))

    async def state(_: Request) -> Response:
        everything = {name: stage.queue(name, {"state": "any"}) for name in QUEUES}
        opened = {name: stage.queue(name, {"state": "open"}) for name in QUEUES}
        done = Counter(one.decision["action"] for one in stage.pictures.values() if one.decision)
        labels = Counter(one.label for one in stage.pictures.values())
        reasons = sorted({one.reason for one in stage.pictures.values() if one.reason})
        return JSONResponse(
            {
                "dataset": "/data/stage", "who": "tester", "revision": stage.revision, "splits": stage.splits,
                "classes": [{"name": name, "title": name, "count": labels[name]} for name in stage.classes],
                "reasons": [{"name": name, "title": name.capitalize()} for name in reasons],
                "queues": [
                    {
                        "name": name, "title": name.capitalize(), "count": len(everything[name]),
                        "open": len(opened[name]), "scores": stage.scores(name),
                    }
                    for name in QUEUES
                ],
                "sources": ["stage"], "licences": ["by"],
                "decided": {name: done[name] for name in ("aside", "relabel", "keep", "keeper", "restore")},
                "notes": [],
            }
        )  # fmt: skip

    async def queue(request: Request) -> Response:
        asked = dict(request.query_params)
        ids = stage.queue(request.path_params["queue"], asked)
        offset, limit = int(asked.get("offset", 0)), int(asked.get("limit", 200))
        items = [stage.item(one) for one in ids[offset : offset + limit]]
        return JSONResponse({"revision": stage.revision, "total": len(ids), "offset": offset, "items": items})

    async def ids(request: Request) -> Response:
        found = stage.queue(request.path_params["queue"], dict(request.query_params))
        decisions = {one: stage.pictures[one].decision for one in found}
        seen = {one: decision["batch"] for one, decision in decisions.items() if decision}
        proposed = sum(proposes(stage.pictures[one]) for one in found)
        return JSONResponse(
            {"revision": stage.revision, "total": len(found), "ids": found, "seen": seen, "proposals": proposed}
        )

    async def items(request: Request) -> Response:
        stage.asked["items"] += 1
        wanted = request.query_params["ids"].split(",")
        assert len(wanted) <= 500
        return JSONResponse(
            {"revision": stage.revision, "items": [stage.item(one) for one in wanted if one in stage.pictures]}
        )

    async def picture(request: Request) -> Response:
        one = request.path_params["id"]
        told = stage.item(one)
        members = [stage.item(other) for other in members_of(one)]
        differing = [["bytes", {member["id"]: 1000 + at for at, member in enumerate(members)}]] if members else []
        history = [
            {key: batch.get(key, "") for key in ("batch", "action", "reason", "label", "who", "when", "undone")}
            for batch in stage.batches
            if one in batch["before"]
        ]
        return JSONResponse(
            {
                **told, "facts": [["Sharpness", "0.81"], ["Digest", one * 4]], "cluster_items": members,
                "differing": differing, "history": history,
                "credit": {
                    "title": told["path"], "author": told["path"], "licence": "by", "licence_url": "javascript:hack()",
                    "page": "https://example.org/1", "source": "stage",
                },
            }
        )  # fmt: skip

    def members_of(one: str) -> list[str]:
        cluster = stage.pictures[one].cluster
        return [other for other, picture in stage.pictures.items() if cluster and picture.cluster == cluster]

    async def alike(request: Request) -> Response:
        label = stage.pictures[request.path_params["id"]].label
        found = [one for one, picture in stage.pictures.items() if picture.label == label][:60]
        return JSONResponse({"items": [stage.item(one) for one in found], "why": ""})

    async def points(_: Request) -> Response:
        axes = ("labels", "splits", "ids", "x", "y", "label", "split", "suspicion")
        nothing: Json = {"method": "pca", "why": "There is no bank yet.", **{axis: [] for axis in axes}}
        return JSONResponse({"why": "", "coming": False, **(stage.points or nothing)})

    async def decide(request: Request) -> Response:
        body = await request.json()
        late = [
            one for one in body["ids"]
            if ((stage.pictures[one].decision or {}).get("batch", 0)) != body["seen"].get(one, 0)
        ]  # fmt: skip
        if late:
            told = {"error": "Another tab decided first.", "items": [stage.item(one) for one in late]}
            return JSONResponse(told, 409)
        batch = stage.decide(body["ids"], body["action"], reason=body.get("reason", ""), label=body.get("label", ""))
        touched = set(body["ids"])
        if body["action"] == "keeper":
            touched |= set(members_of(body["ids"][0]))
        return JSONResponse(
            {"batch": batch, "revision": stage.revision, "items": [stage.item(one) for one in sorted(touched)]}
        )

    async def undo(request: Request) -> Response:
        number = (await request.json())["batch"]
        batch = stage.batches[number - 1]
        later = [one for one in batch["before"] if ((stage.pictures[one].decision or {}).get("batch")) != number]
        if batch["undone"] or later:
            return JSONResponse({"error": "It was undone already, or decided on since.", "items": []}, 409)
        batch["undone"] = True
        for one, decision in batch["before"].items():
            stage._put(one, decision)
        return JSONResponse(
            {"batch": number, "revision": stage.revision, "items": [stage.item(one) for one in batch["before"]]}
        )

    async def history(request: Request) -> Response:
        offset, limit = int(request.query_params["offset"]), int(request.query_params["limit"])
        shown = [{key: value for key, value in batch.items() if key != "before"} for batch in reversed(stage.batches)]
        return JSONResponse({"total": len(shown), "batches": shown[offset : offset + limit]})

    async def changes(request: Request) -> Response:
        since = int(request.query_params["since"])
        ids = {one for revision, one in stage.changed if revision > since}
        return JSONResponse({"revision": stage.revision, "items": [stage.item(one) for one in sorted(ids)]})

    async def carry_out(request: Request) -> Response:
        body = await request.json()
        done = Counter(one.decision["action"] for one in stage.pictures.values() if one.decision)
        if body["dry"]:
            counts = {name: done[name] for name in ("aside", "relabel", "restore", "keep")}
            reasons = Counter(
                one.decision["reason"]
                for one in stage.pictures.values()
                if one.decision and one.decision["action"] == "aside"
            )
            return JSONResponse(
                {
                    **counts,
                    "by_reason": dict(reasons),
                    "warnings": [],
                    "lapsed": 0,
                    "unfinished": 0,
                    "token": str(stage.revision),
                }
            )
        if body["token"] != str(stage.revision):
            return JSONResponse({"error": "Decisions changed since they were counted."}, 409)
        return JSONResponse(
            {"moved": done["aside"], "relabelled": done["relabel"], "restored": done["restore"], "unmoved": [],
             "finished": 0, "lapsed": [], "revision": stage.revision}
        )  # fmt: skip

    async def thumb(request: Request) -> Response:
        stage.asked["thumb"] += 1
        hue = int(request.path_params["id"][:4], 16)
        size = int(request.query_params.get("size", 640))
        return Response(drawn(hue % 64 * 4, size), media_type="image/jpeg")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/state", state),
            Route("/api/queue/{queue}", queue),
            Route("/api/ids/{queue}", ids),
            Route("/api/items", items),
            Route("/api/picture/{id}", picture),
            Route("/api/alike/{id}", alike),
            Route("/api/map", points),
            Route("/api/decide", decide, methods=["POST"]),
            Route("/api/undo", undo, methods=["POST"]),
            Route("/api/history", history),
            Route("/api/changes", changes),
            Route("/api/carry-out", carry_out, methods=["POST"]),
            Route("/thumb/{id}", thumb),
            Route("/picture/{id}", thumb),
            Mount("/static", static_files()),
        ]
    )


@contextmanager
def served(stage: Stage) -> Iterator[Stage]:
    """Serve a stage behind the guard, from a thread; `stage.url` opens its page."""
    listening: Listening = listen()
    token = new_token()
    guarded = Guard(application(stage), Access(listening.hosts, token, 8 << 20))
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", access_log=False, ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, args=(listening.sockets,), daemon=True)
    thread.start()
    stage.url = f"{listening.url}?token={token}"
    try:
        yield stage
    finally:
        server.should_exit = True
        thread.join()
        for bound in listening.sockets:
            bound.close()
