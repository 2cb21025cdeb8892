"""A reviewer's day with the real server: decide by keyboard, lose the server, carry out, and take it all back."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from starlette.testclient import TestClient

from tests.browsing import a_browser, a_tab, screenshot
from tests.commanding import command
from tests.conftest import REPOSITORY
from tests.pictures import contents, save, scene
from tests.review_stage import Stage, Staged, application
from tests.reviewing import Served

MARKUP = "<img src=x onerror=\"document.title='hacked'\">"
CLASSES = {"51": "petunia", "77": "passion flower", "46": "wallflower"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as started:
        yield started


@contextmanager
def reviewing(data: Path) -> Iterator[Served]:
    """Run the command until its page answers; ended in order, unless it was killed."""
    server = Served.start(data, "--as", "Ada")
    try:
        yield server
    finally:
        ended = 0 if server.process.poll() is not None else server.stop()
    assert ended == 0


def address(server: Served, place: str = "") -> str:
    """Where the page opens at a place."""
    return f"http://127.0.0.1:{server.port}/?token={server.token}#{place}"


def photographs() -> dict[str, list[Path]]:
    """Ten real photographs of each class, where they are at hand."""
    root = Path(os.environ.get("FLORILEGIUM_FLOWERS", REPOSITORY.parent / "shared" / "flowers")) / "train"
    return {label: sorted((root / label).glob("*.jpg"))[:10] for label in CLASSES}


def gathered(folder: Path) -> Path:
    """30 pictures of three classes, each with a smaller copy beside it."""
    found = photographs()
    for at in range(30):
        label = list(CLASSES)[at // 10]
        original = folder / "raw" / label / f"{at:02d}.jpg"
        original.parent.mkdir(parents=True, exist_ok=True)
        if len(found[label]) == 10:
            shutil.copy(found[label][at % 10], original)
        else:
            save(scene(at), original)
        with Image.open(original) as picture:
            half = picture.resize((picture.width * 2 // 3, picture.height * 2 // 3))
        save(half, original.with_name(f"{at:02d}_copy.jpg"), quality=85)
    (folder / "cat_to_name.json").write_text(json.dumps(CLASSES))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, with a plan made, so that each server starts at once."""
    data = gathered(tmp_path_factory.mktemp("review") / "data")
    assert command("clean", data, "--dry-run").code == 0
    return data


@pytest.fixture
def data(dataset: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(dataset, tmp_path / "data"))
    # The copies are read anew, and would be newer than their plan
    later = time.time() + 60
    os.utime(copy / "plan.jsonl", (later, later))
    return copy


def pictures(data: Path) -> dict[str, str]:
    """Every file of the dataset, without the thumbnails that are kept beside it."""
    return {path: digest for path, digest in contents(data).items() if not path.startswith(".florilegium.thumbnails/")}


def current(page: Page) -> str:
    """The path of the picture under the cursor."""
    return page.locator(".details .path").first.inner_text()


def saved(page: Page) -> None:
    """Wait until all that was decided is on record."""
    expect(page.locator(".tile.saving")).to_have_count(0)
    expect(page.locator("#unsaved")).to_have_text("")


@pytest.mark.thorough
def test_a_reviewer_clears_a_queue_by_keyboard_and_nothing_is_lost(
    browser: Browser, data: Path, tmp_path: Path
) -> None:
    before = pictures(data)
    with a_tab(browser) as page:
        with reviewing(data) as server:
            page.goto(address(server))
            expect(page.locator(".tile.current")).to_have_count(1)
            page.keyboard.press("]")
            expect(page.locator("[data-queue=duplicate]")).to_have_attribute("aria-current", "page")
            expect(page.locator("[data-queue=duplicate]")).to_contain_text("30")
            expect(page.locator("#shown")).to_contain_text("60 pictures")
            screenshot(page, "review-journey-start", tmp_path)

            swapped = current(page)
            page.keyboard.press("w")
            expect(page.locator(".details .path").first).not_to_have_text(swapped)
            relabelled = current(page)
            page.keyboard.press("r")
            page.keyboard.type("wa")
            page.keyboard.press("Enter")
            expect(page.locator(".details .path").first).not_to_have_text(relabelled)
            kept = current(page)
            page.keyboard.press("s")
            expect(page.locator(".details .path").first).not_to_have_text(kept)
            undone = current(page)
            page.keyboard.press("a")
            expect(page.locator(".details .path").first).not_to_have_text(undone)
            page.keyboard.press("u")
            expect(page.locator(".details .path").first).to_have_text(undone)
            expect(page.locator("[data-queue=duplicate] .open")).to_have_text("27")
            for _ in range(27):
                page.keyboard.press("a")
            expect(page.locator("[data-queue=duplicate] .open")).to_have_text("✓")
            saved(page)
            screenshot(page, "review-journey-cleared", tmp_path)
            server.kill()
            expect(page.locator("#banner")).to_contain_text("does not answer")
        assert pictures(data) == before, "deciding moves nothing"

        with reviewing(data) as server:
            page.goto(address(server))
            expect(page.locator("[data-queue=duplicate] .open")).to_have_text("✓")
            page.goto(address(server, "queue=duplicate&state=decided"))
            expect(page.locator("#grid [data-decided=aside]").first).to_be_visible()
            told = page.evaluate("() => fetch('/api/queue/duplicate?state=any&limit=500').then(one => one.json())")
            done = Counter((item["decision"] or {}).get("action") for item in told["items"])
            assert done == {"aside": 28, "keep": 1, "relabel": 1, "keeper": 1, None: 29}
            page.keyboard.press("Shift+C")
            expect(page.locator("dialog")).to_contain_text("28 pictures go to quarantine")
            screenshot(page, "review-journey-carry-out", tmp_path)
            page.keyboard.press("Enter")
            expect(page.locator("dialog h2")).to_have_text("Carried out")
            page.keyboard.press("Enter")

            page.keyboard.press("u")
            expect(page.locator(".notice.bad")).to_contain_text("restore")
            after = pictures(data)
            page.goto(address(server, "queue=quarantine&sort=path&descending=0"))
            expect(page.locator(".tile.current")).to_have_count(1)
            page.keyboard.press("t")
            saved(page)
            page.keyboard.press("Shift+C")
            expect(page.locator("dialog")).to_contain_text("1 picture comes back")
            page.keyboard.press("Enter")
            expect(page.locator("dialog h2")).to_have_text("Carried out")
            (returned,) = set(pictures(data)) & set(before) - set(after)
            assert pictures(data)[returned] == before[returned]

            # A decision on a file that is removed behind the page's back is said to be dropped
            page.goto(address(server, "queue=all&sort=path&descending=0"))
            expect(page.locator(".details .path").first).to_contain_text("raw/46")
            vanished = data / current(page)
            content = vanished.read_bytes()
            page.keyboard.press("x")
            page.keyboard.type("ugly")
            page.keyboard.press("Enter")
            saved(page)
            vanished.unlink()
            page.keyboard.press("Shift+C")
            page.get_by_role("button", name="Carry out: move 1 picture").click()
            page.get_by_role("button", name="Count anew").click()
            expect(page.locator("dialog .warning")).to_contain_text("is not set aside (ugly): the file has gone since.")
            page.get_by_role("button", name="Drop 1 decision").click()
            expect(page.locator("dialog")).to_contain_text("1 decision could not be carried out, and is dropped")
            page.keyboard.press("Enter")
            vanished.write_bytes(content)

        source_of_swapped = swapped.replace("_copy", "")
        leaving = {path for path in before if path.endswith("_copy.jpg")} - {swapped, relabelled, kept}
        leaving.add(source_of_swapped)
        assert len(leaving) == 28
        staying = set(before) - leaving - {relabelled}
        assert {path: after[path] for path in staying} == {path: before[path] for path in staying}
        gone = [path for path in after if path.startswith("quarantine/")]
        assert sorted(after[path] for path in gone if path.endswith(".jpg")) == sorted(before[path] for path in leaving)
        (moved,) = [path for path in after if after[path] == before[relabelled]]
        assert moved.startswith("raw/46/"), "the wallflowers"

        assert command("restore", data).code == 0
        back = pictures(data)
        assert {path: back.get(path) for path in before if path != relabelled} == {
            path: digest for path, digest in before.items() if path != relabelled
        }
        assert before[relabelled] in back.values(), "nothing is lost"
        planned = command("clean", data, "--dry-run")
        assert kept not in planned.out, "what was kept is not proposed again"


@pytest.mark.thorough
def test_two_tabs_of_the_real_server_and_names_that_hold_markup(browser: Browser, data: Path) -> None:
    hostile = data / "raw" / MARKUP.replace("/", "")
    (data / "raw" / "77").rename(hostile)
    (data / "plan.jsonl").unlink()
    with reviewing(data) as server, a_tab(browser) as page:
        page.goto(address(server, "queue=duplicate&sort=path&descending=0"))
        expect(page.locator(".tile.current")).to_have_count(1)
        other = page.context.new_page()
        other.goto(address(server, "queue=duplicate&sort=path&descending=0&at="))
        expect(other.locator(".tile.current")).to_have_count(1)
        page.keyboard.press("s")
        saved(page)
        expect(other.locator("#grid [data-decided=keep]")).to_have_count(1)

        other.route("**/api/changes*", lambda route: route.fulfill(json={"revision": 1, "items": [], "more": 0}))
        page.keyboard.press("a")
        saved(page)
        other.keyboard.press("n")
        other.keyboard.press("x")
        other.keyboard.type("ugly")
        other.keyboard.press("Enter")
        expect(other.locator("dialog")).to_contain_text("was not saved")
        expect(other.locator("dialog")).to_contain_text("set aside: duplicate")
        other.keyboard.press("Enter")
        expect(other.locator("#grid [data-decided=aside]")).to_contain_text("duplicate")

        page.goto(address(server, "queue=all&state=any&sort=path&descending=1"))
        expect(page.locator(".details")).to_contain_text(MARKUP)
        page.keyboard.press("r")
        expect(page.locator("dialog")).to_contain_text(MARKUP)
        page.keyboard.press("Escape")
        page.keyboard.press("Shift+H")
        expect(page.locator("dialog .batches")).to_contain_text("Ada")
        page.keyboard.press("Escape")

        # A page that is opened anew undoes step by step what was decided before it, and not its own undoing
        page.goto(address(server, "queue=duplicate&state=any&sort=path&descending=0"))
        page.reload()
        expect(page.locator("#grid [data-decided]")).to_have_count(2)
        page.keyboard.press("u")
        expect(page.locator("#grid [data-decided]")).to_have_count(1)
        page.keyboard.press("u")
        expect(page.locator("#grid [data-decided]")).to_have_count(0)
        page.keyboard.press("u")
        expect(page.locator(".notice").last).to_contain_text("There is nothing to undo.")
        assert page.locator("img[onerror]").count() == 0
        assert page.title() == f"Review: {data}"


@pytest.mark.thorough
def test_the_stage_of_the_other_tests_answers_as_the_server_does(data: Path) -> None:
    """Each field of each answer: what the page is tested with is what it will get."""
    keeper = Staged("raw/46/a.jpg", "46", "duplicate", cluster="c", keeper="")
    stage = Stage.of([keeper, Staged("raw/46/b.jpg", "46", "duplicate", "duplicate", 1.0, "", "", "c", keeper.path)])
    with reviewing(data) as server:

        def real(path: str, body: Any = None) -> Any:
            return server.get(path) if body is None else server.post(path, body)

        staged = TestClient(application(stage))

        def fake(path: str, body: Any = None) -> Any:
            return (staged.get(path) if body is None else staged.post(path, json=body)).json()

        def compared(path: str, body: Any = None) -> None:
            one, other = real(path, body), fake(path, body)
            assert shape(one) == shape(other), path

        def shape(answer: Any) -> Any:
            """The names in an answer and in the first of each of its lists."""
            if isinstance(answer, dict):
                named = {"seen", "by_reason", "decision", "score", "credit"}
                told = {name: value for name, value in answer.items() if name != "more"}
                return {name: None if name in named else shape(value) for name, value in told.items()}
            return [shape(answer[0])] if isinstance(answer, list) and answer and isinstance(answer[0], dict) else None

        for path in ("/api/state", "/api/queue/duplicate", "/api/ids/duplicate", "/api/map"):
            compared(path)
        ids = [answer("/api/ids/duplicate")["ids"] for answer in (real, fake)]
        for answer, (_, second, *_) in zip((real, fake), ids, strict=True):
            body = {"ids": [second], "action": "aside", "seen": {}, "queue": "duplicate"}
            answer("/api/decide", body)
        told = [
            [
                shape(answer(f"/api/items?queue=duplicate&ids={first},{second}")),
                shape(answer(f"/api/picture/{second}?queue=duplicate")) | {"differing": None},
                shape(answer("/api/history?offset=0&limit=5")),
                shape(answer("/api/changes?since=0&queue=duplicate")),
                shape(answer("/api/carry-out", {"dry": True})),
                shape(answer("/api/undo", {"batch": answer("/api/history?offset=0&limit=1")["batches"][0]["batch"]})),
            ]
            for answer, (first, second, *_) in zip((real, fake), ids, strict=True)
        ]
        assert told[0] == told[1]


@pytest.mark.thorough
def test_a_tab_that_was_left_open_goes_on_with_the_next_server(browser: Browser, data: Path) -> None:
    """What was decided while no server was there is sent, once the address of the next one was opened beside it."""
    with a_tab(browser) as page:
        with reviewing(data) as server:
            page.goto(address(server, "queue=duplicate"))
            expect(page.locator("[data-queue=duplicate] .open")).to_have_text("30")
            expect(page.locator(".details .path").first).to_contain_text("/")  # the picture that the key is about
            server.kill()
        page.keyboard.press("s")
        expect(page.locator("#unsaved")).to_contain_text("1 decision not saved")
        with reviewing(data) as server:
            beside = page.context.new_page()
            beside.goto(address(server))
            expect(page.locator("#unsaved")).to_have_text("")
            assert [batch["action"] for batch in server.get("/api/history")["batches"]] == ["keep"]
            expect(page.locator("#banner")).to_be_hidden()

            # A dataset that is renamed under the page is said too, and what is decided meanwhile is kept
            data.rename(data.with_name("elsewhere"))
            expect(page.locator("#banner")).to_contain_text("was renamed or removed")
            page.keyboard.press("a")
            expect(page.locator("#banner")).to_contain_text("1 decision not saved yet; it is kept here")
            data.with_name("elsewhere").rename(data)
            expect(page.locator("#unsaved")).to_have_text("")
            expect(page.locator("#banner")).to_be_hidden()
            assert [batch["action"] for batch in server.get("/api/history")["batches"]] == ["accept", "keep"]
