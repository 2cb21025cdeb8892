"""The page of `review`, in a real browser: what a person does with keys and mouse, and what is then on record."""

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browsing import SETTINGS, a_browser, a_tab, screenshot, serious_faults
from tests.review_stage import Stage, Staged, identity, served

MOST_NODES = 1500
COPY = ("duplicate", "duplicate", 1.0, "A copy.", "")
MARKUP = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as started:
        yield started


def plain(count: int, queue: str = "quality", reason: str = "blurred") -> list[Staged]:
    return [
        Staged(f"raw/{'abc'[at % 3]}/{at:05d}.jpg", "abc"[at % 3], queue, reason, 0.5, "It is blurred.")
        for at in range(count)
    ]


def copies(clusters: int) -> list[Staged]:
    found = []
    for cluster in range(clusters):
        keeper = f"raw/a/{cluster}_whole.jpg"
        found.append(Staged(keeper, "a", "duplicate", cluster=f"c{cluster}", keeper=keeper))
        found += [Staged(f"raw/a/{cluster}_{at}.jpg", "a", *COPY, f"c{cluster}", keeper) for at in range(2)]
    return found


def opened(page: Page, stage: Stage, queue: str = "", **place: str) -> Page:
    """The page at a queue, once its first pictures are there."""
    place = {"queue": queue, **place} if queue else place
    page.goto(f"{stage.url}#{urlencode(place)}")
    expect(page.locator(".tile.current")).to_have_count(1)
    return page


def decisions(stage: Stage) -> dict[str, str]:
    """Path → what was decided."""
    return {one.path: one.decision["action"] for one in stage.pictures.values() if one.decision}


def eventually(page: Page, stage: Stage, expected: dict[str, str]) -> None:
    """Wait until the server has exactly these decisions on record."""
    for _ in range(600):
        if decisions(stage) == expected:
            return
        page.wait_for_timeout(30)
    assert decisions(stage) == expected


def tile(path: str) -> str:
    return f".tile:has-text('{path}')"


# Deciding


def test_each_key_decides_and_the_cursor_moves_to_the_next_open_picture(browser: Browser) -> None:
    pictures = [
        *plain(3),
        Staged("raw/b/wrong.jpg", "b", "quality", "mislabelled", 0.9, "Looks like c.", "c"),
    ]
    with served(Stage.of(pictures)) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("a")
        page.keyboard.press("s")
        page.keyboard.press("x")
        page.keyboard.type("ugly")
        page.keyboard.press("Enter")
        expect(page.locator(".tile.current")).to_contain_text("wrong.jpg")
        page.keyboard.press("a")
        first, second, third, wrong = stage.pictures.values()
        eventually(page, stage, {first.path: "aside", second.path: "keep", third.path: "aside", wrong.path: "relabel"})
        decided = {one.path: one.decision or {} for one in stage.pictures.values()}
        assert decided[first.path]["reason"] == "blurred", "what was proposed"
        assert decided[third.path]["reason"] == "ugly", "what was typed"
        assert decided[wrong.path]["label"] == "c"
        expect(page.locator("#spoken")).to_contain_text("Nothing open is left")
        expect(page.locator("[data-queue=quality] .open")).to_have_text("✓")


def test_a_class_is_chosen_by_two_letters(browser: Browser) -> None:
    pictures = [Staged(f"raw/{label}/1.jpg", label) for label in ("rose", "bee balm", "iris")]
    with served(Stage.of(pictures)) as stage, a_tab(browser) as page:
        opened(page, stage, "all", sort="path", descending="0")
        page.keyboard.press("r")
        page.keyboard.type("ir")
        expect(page.locator("[role=option]")).to_have_count(1)
        page.keyboard.press("Enter")
        eventually(page, stage, {"raw/bee balm/1.jpg": "relabel"})
        page.keyboard.press("r")
        page.keyboard.type("ro")
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        assert len(decisions(stage)) == 1, "Escape decides nothing"


def test_the_copy_that_stays_is_swapped_and_nothing_is_proposed_for_it(browser: Browser) -> None:
    with served(Stage.of(copies(2))) as stage, a_tab(browser) as page:
        opened(page, stage, "duplicate")
        expect(page.locator(".tile.current")).to_contain_text("0_0.jpg")  # the first that is open; the keeper is not
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("a")
        expect(page.locator(".notice")).to_contain_text("Nothing is proposed")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("w")
        eventually(page, stage, {"raw/a/0_0.jpg": "keeper"})
        expect(page.locator(tile("0_0.jpg"))).to_have_attribute("data-decided", "keeper")


def test_a_key_acts_on_the_picture_under_the_mouse_without_a_click(browser: Browser) -> None:
    with served(Stage.of(plain(12))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.hover(tile("00006.jpg"))
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/00006.jpg": "keep"})
        expect(page.locator(".tile.current")).to_contain_text("00007.jpg")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/00006.jpg": "keep", "raw/b/00007.jpg": "keep"})


def test_the_wheel_brings_another_picture_under_the_mouse(browser: Browser) -> None:
    with served(Stage.of(plain(400))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.hover(tile("00005.jpg"))
        page.mouse.wheel(0, 4000)
        expect(page.locator(tile("00005.jpg"))).not_to_be_visible()
        expect(page.locator(".tile.current")).not_to_contain_text("00005.jpg")
        under = page.evaluate("() => document.querySelector('.tile:hover').textContent")
        expect(page.locator(".tile.current")).to_have_text(under)
        page.keyboard.press("s")
        (path,) = [path for path in (one.path for one in stage.pictures.values()) if path in under]
        eventually(page, stage, {path: "keep"})


def test_a_key_held_down_decides_once(browser: Browser) -> None:
    with served(Stage.of(plain(12))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        for _ in range(5):
            page.keyboard.down("s")  # the same key again: what a keyboard repeats
        page.keyboard.up("s")
        page.wait_for_timeout(300)
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})


def test_undo_goes_back_step_by_step_and_further_than_this_page(browser: Browser) -> None:
    with served(Stage.of(plain(6))) as stage, a_tab(browser) as page:
        early = list(stage.pictures)[5]
        stage.decide([early], "keep", who="earlier")
        opened(page, stage, "quality")
        for key in "sas":
            page.keyboard.press(key)
        eventually(
            page, stage, {"raw/c/00005.jpg": "keep", "raw/a/00000.jpg": "keep", "raw/b/00001.jpg": "aside",
                          "raw/c/00002.jpg": "keep"},
        )  # fmt: skip
        page.keyboard.press("u")
        eventually(page, stage, {"raw/c/00005.jpg": "keep", "raw/a/00000.jpg": "keep", "raw/b/00001.jpg": "aside"})
        expect(page.locator(".tile.current")).to_contain_text("00002.jpg")
        page.keyboard.press("Control+z")
        eventually(page, stage, {"raw/c/00005.jpg": "keep", "raw/a/00000.jpg": "keep"})
        page.keyboard.press("u")
        page.keyboard.press("u")
        eventually(page, stage, {})


def test_any_batch_is_undone_from_the_history(browser: Browser) -> None:
    with served(Stage.of(plain(4))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        for key in "sas":
            page.keyboard.press(key)
        eventually(page, stage, {"raw/a/00000.jpg": "keep", "raw/b/00001.jpg": "aside", "raw/c/00002.jpg": "keep"})
        page.keyboard.press("Shift+H")
        page.locator(".batches li").nth(1).get_by_role("button", name="Undo").click()
        expect(page.locator(".batches li.undone")).to_have_count(1)
        eventually(page, stage, {"raw/a/00000.jpg": "keep", "raw/c/00002.jpg": "keep"})


# Many at once


def test_all_that_is_shown_is_accepted_in_one_step_and_undone_in_one(browser: Browser) -> None:
    pictures = [*copies(10), Staged("raw/b/x.jpg", "b", "mislabelled", "mislabelled", 0.9, "Looks like a.", "a")]
    with served(Stage.of(pictures)) as stage, a_tab(browser) as page:
        opened(page, stage, "proposals", layout="list")
        expect(page.locator("#button-accept")).to_have_text("Accept all shown (21)")
        expect(page.locator(tile("0_0.jpg"))).to_contain_text("A copy.")
        page.keyboard.press("Shift+A")
        leaving = {one.path: "aside" for one in stage.pictures.values() if one.reason == "duplicate"}
        eventually(page, stage, {**leaving, "raw/b/x.jpg": "relabel"})
        assert len(stage.batches) == 1
        page.get_by_role("button", name="Undo", exact=True).last.click()
        eventually(page, stage, {})
        expect(page.locator("#button-accept")).to_have_text("Accept all shown (21)")


def test_pictures_are_selected_by_range_rectangle_and_key(browser: Browser) -> None:
    with served(Stage.of(plain(40))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        expect(page.locator("#chosen")).to_have_text("3 selected")
        page.keyboard.press("Escape")
        expect(page.locator("#chosen")).to_have_text("")
        page.click(tile("00001.jpg"))
        page.click(tile("00006.jpg"), modifiers=["Shift"])
        expect(page.locator("#chosen")).to_have_text("6 selected")
        page.click(tile("00003.jpg"), modifiers=["Control"])
        expect(page.locator("#chosen")).to_have_text("5 selected")
        page.keyboard.press("Escape")
        start = page.locator(tile("00000.jpg")).bounding_box()
        end = page.locator(tile("00005.jpg")).bounding_box()
        assert start is not None
        assert end is not None
        page.mouse.move(start["x"] - 4, start["y"] - 4)
        page.mouse.down()
        page.mouse.move(end["x"] + 20, end["y"] + 20, steps=4)
        page.mouse.up()
        expect(page.locator("#chosen")).to_have_text("4 selected")  # two columns, two rows
        page.keyboard.press("s")
        eventually(page, stage, dict.fromkeys(
            ("raw/a/00000.jpg", "raw/b/00001.jpg", "raw/b/00004.jpg", "raw/c/00005.jpg"), "keep"
        ))  # fmt: skip
        page.keyboard.press("Control+a")
        expect(page.locator("#chosen")).to_have_text("40 selected")


def test_what_was_decided_a_moment_ago_is_saved_before_it_is_counted(browser: Browser) -> None:
    def late(route: Route) -> None:
        saving.append(route)

    saving: list[Route] = []
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.route("**/api/decide", late)
        page.keyboard.press("a")
        page.keyboard.press("Shift+C")
        page.keyboard.press("Shift+C")
        for _ in range(400):
            if saving:
                break
            page.wait_for_timeout(50)
        assert len(saving) == 1
        expect(page.locator("dialog")).to_have_count(0)
        saving[0].continue_()
        expect(page.locator("dialog")).to_contain_text("1 picture goes to quarantine")
        expect(page.locator("dialog")).to_have_count(1)

        # Where the server does not answer, nothing is counted
        page.keyboard.press("Escape")
        page.unroute("**/api/decide", late)
        page.route("**/api/decide", lambda route: route.abort())
        page.keyboard.press("a")
        page.keyboard.press("Shift+C")
        expect(page.locator(".notice.bad")).to_contain_text("not saved yet")
        expect(page.locator("dialog")).to_have_count(0)


def test_what_was_decided_since_it_was_counted_is_not_carried_out_unseen(browser: Browser) -> None:
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("a")
        eventually(page, stage, {"raw/a/00000.jpg": "aside"})
        page.keyboard.press("Shift+C")
        expect(page.locator("dialog")).to_contain_text("1 picture goes to quarantine")
        stage.decide([list(stage.pictures)[3]], "aside", who="Grace")
        page.keyboard.press("Enter")
        expect(page.locator(".notice.bad")).to_contain_text("changed since they were counted")
        page.get_by_role("button", name="Count anew").click()
        expect(page.locator("dialog")).to_contain_text("2 pictures go to quarantine")
        page.get_by_role("button", name="Not now").click()
        expect(page.locator("dialog")).to_have_count(0)


# The place


def test_nothing_is_lost_on_leaving_a_queue_or_the_page(browser: Browser) -> None:
    with served(Stage.of([*plain(300), *copies(5)])) as stage, a_tab(browser) as page:
        opened(page, stage, "quality", **{"class": "b"})
        page.keyboard.press("Control+End")
        expect(page.locator(".tile.current")).to_contain_text("00298.jpg")
        page.keyboard.press("Shift+M")
        page.keyboard.press("Shift+M")
        page.locator("[data-queue=duplicate]").click()
        expect(page.locator(".tile.current")).to_contain_text("0_0.jpg")
        page.locator("[data-queue=quality]").click()
        expect(page.locator(".tile.current")).to_contain_text("00298.jpg")
        expect(page.locator("#filter-class")).to_have_value("b")
        page.wait_for_timeout(300)  # the address follows at its ease
        page.reload()
        expect(page.locator(".tile.current")).to_contain_text("00298.jpg")
        expect(page.locator("#filter-class")).to_have_value("b")
        page.go_back()
        expect(page.locator("[data-queue=duplicate]")).to_have_attribute("aria-current", "page")


def test_a_list_is_narrowed_by_filters(browser: Browser) -> None:
    with served(Stage.of(plain(30))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("/")
        page.keyboard.type("0000")
        expect(page.locator("#shown")).to_contain_text("10 pictures")
        page.keyboard.press("Escape")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})
        page.get_by_role("button", name="Clear filters").click()
        expect(page.locator("#shown")).to_contain_text("29 pictures")
        page.select_option("#filter-state", "decided")
        expect(page.locator("#shown")).to_contain_text("1 picture")


def test_a_list_is_narrowed_by_score_and_all_that_it_shows_is_accepted(browser: Browser) -> None:
    scored = [
        Staged(f"raw/a/{at}.jpg", "a", "mislabelled", "mislabelled", at / 10, "Looks like b.", "b") for at in range(10)
    ]
    with served(Stage.of([*scored, Staged("raw/a/x.jpg", "a", "broken", "broken")])) as stage, a_tab(browser) as page:
        opened(page, stage, "mislabelled")
        lowest, highest = page.get_by_label("Score from"), page.get_by_label("Score up to")
        expect(lowest).to_have_attribute("placeholder", "0.00")
        expect(highest).to_have_attribute("placeholder", "0.90")
        lowest.focus()
        page.keyboard.type("0.6")
        expect(page.locator("#shown")).to_contain_text("4 pictures")
        page.keyboard.press("Tab")
        page.keyboard.type("7")  # out of bounds: nothing is asked, and the field says so
        page.keyboard.press("ArrowDown")
        expect(highest).to_have_value("1")
        page.keyboard.press("Backspace")
        page.keyboard.type("0.8")
        expect(page.locator("#shown")).to_contain_text("3 pictures")
        expect(page.locator("#filters-set")).to_have_text("(2)")
        page.keyboard.press("Escape")
        page.reload()
        expect(highest).to_have_value("0.8")
        expect(page.locator("#button-accept")).to_have_text("Accept all shown (3)")
        page.keyboard.press("Shift+A")
        eventually(page, stage, {f"raw/a/{at}.jpg": "relabel" for at in (6, 7, 8)})
        page.get_by_role("button", name="Clear filters").click()
        expect(page.locator("#shown")).to_contain_text("7 open, 7 pictures")
        page.locator("[data-queue=broken]").click()
        expect(page.locator("#filter-scores")).to_be_hidden()


def test_pictures_that_are_alike_are_one_key_away_and_the_queue_one_button(browser: Browser) -> None:
    with served(Stage.of(plain(30))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("m")
        expect(page.locator("#shown")).to_contain_text("More like this")
        expect(page.locator(".tile")).to_have_count(10)
        page.keyboard.press("s")
        page.get_by_role("button", name="Back to the queue").click()
        expect(page.locator("#shown")).to_contain_text("29 pictures")


# Others, and a server that is gone


def test_two_tabs_never_overwrite_each_other_silently(browser: Browser) -> None:
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        page.route("**/api/changes*", lambda route: route.fulfill(json={"revision": 0, "items": []}))
        opened(page, stage, "quality")
        first, second = list(stage.pictures)[:2]
        stage.decide([first], "keep", who="Grace")
        page.keyboard.press("a")
        expect(page.locator("dialog")).to_contain_text("Grace")
        expect(page.locator("dialog")).to_contain_text("stays")
        page.keyboard.press("Enter")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})
        expect(page.locator(tile("00000.jpg"))).to_have_attribute("data-decided", "keep")
        stage.decide([second], "keep", who="Grace")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("n")
        page.keyboard.press("a")
        page.get_by_role("button", name="Put mine in its place").click()
        eventually(page, stage, {"raw/a/00000.jpg": "keep", "raw/b/00001.jpg": "aside"})


def test_what_another_tab_decides_appears(browser: Browser) -> None:
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        stage.decide([list(stage.pictures)[3]], "keep", who="Grace")
        expect(page.locator(tile("00003.jpg"))).to_have_attribute("data-decided", "keep")
        expect(page.locator("[data-queue=quality]")).to_contain_text("4")


def test_decisions_outlive_a_server_that_is_gone_and_a_reload(browser: Browser) -> None:
    with served(Stage.of(plain(6))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.route("**/api/**", lambda route: route.abort())
        page.keyboard.press("s")
        page.keyboard.press("a")
        page.keyboard.press("s")
        expect(page.locator("#banner")).to_contain_text("3 decisions not saved")
        page.keyboard.press("u")
        expect(page.locator("#banner")).to_contain_text("2 decisions not saved")
        expect(page.locator(".tile.current")).to_contain_text("00002.jpg")
        assert decisions(stage) == {}
        page.unroute("**/api/**")
        eventually(page, stage, {"raw/a/00000.jpg": "keep", "raw/b/00001.jpg": "aside"})
        expect(page.locator("#banner")).to_be_hidden()


def test_pictures_that_did_not_come_are_asked_for_when_the_server_is_back(browser: Browser) -> None:
    with served(Stage.of(plain(600))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        expect(page.locator("#shown")).to_contain_text("600 pictures")
        for path in ("**/api/**", "**/thumb/**"):
            page.route(path, lambda route: route.abort())
        page.keyboard.press("Control+End")
        expect(page.locator("#banner")).to_be_visible()
        expect(page.locator(tile("00599.jpg"))).to_have_count(0)
        for path in ("**/api/**", "**/thumb/**"):
            page.unroute(path)
        expect(page.locator(f"{tile('00599.jpg')} img[src]")).to_be_visible()
        expect(page.locator(".details")).to_contain_text("00599.jpg")


def test_decisions_that_were_not_saved_outlive_the_page(browser: Browser) -> None:
    with served(Stage.of(plain(6))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.route("**/api/decide", lambda route: route.abort())
        page.keyboard.press("s")
        expect(page.locator("#unsaved")).to_contain_text("1 decision not saved")
        page.reload()
        expect(page.locator(".notice")).to_contain_text("1 decision that an earlier page could not save")
        assert decisions(stage) == {}
        page.unroute("**/api/decide")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})


def test_an_answer_that_was_lost_is_no_conflict(browser: Browser) -> None:
    """The server had saved it; sent again, it is refused as decided since, by ourselves."""
    with served(Stage.of(plain(6))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.route("**/api/decide", lambda route: (route.fetch(), route.abort()), times=1)
        page.keyboard.press("s")
        expect(page.locator(tile("00000.jpg"))).to_have_attribute("data-decided", "keep")
        expect(page.locator(".tile.saving")).to_have_count(0)
        expect(page.locator("dialog")).to_have_count(0)
        assert len(stage.batches) == 1
        page.keyboard.press("u")
        eventually(page, stage, {})


# What others wrote


def test_names_that_hold_markup_are_shown_as_text(browser: Browser) -> None:
    pictures = [
        Staged(f"raw/{MARKUP}/{at}.jpg", MARKUP, *COPY[:3], MARKUP, MARKUP, "c", f"raw/{MARKUP}/0.jpg")
        for at in range(3)
    ]
    with served(Stage.of(pictures)) as stage, a_tab(browser) as page:
        opened(page, stage, "duplicate")
        expect(page.locator(".details")).to_contain_text(MARKUP)
        expect(page.get_by_text("Credit")).to_be_visible()
        assert page.locator("a[href^=javascript]").count() == 0
        for key in ("v", "r", "Escape", "c", "b", "Escape", "x", "Escape", "s", "Shift+H", "Escape", "m"):
            page.keyboard.press(key)
            page.wait_for_timeout(60)
        assert page.locator("img[onerror], .page script, dialog script").count() == 0
        assert page.title() == "Review: /data/stage"


# Looking closely


def test_copies_stand_side_by_side_blink_in_place_and_differ_in_few_facts(browser: Browser) -> None:
    with served(Stage.of(copies(2))) as stage, a_tab(browser) as page:
        opened(page, stage, "duplicate")
        page.keyboard.press("c")
        expect(page.locator(".pane")).to_have_count(3)
        expect(page.locator("dialog .differing tbody tr")).to_have_count(1)
        page.keyboard.press("+")
        scales = {pane.evaluate("image => image.style.transform") for pane in page.locator(".glass img").all()}
        assert len(scales) == 1
        assert "scale(1.25)" in scales.pop(), "all panes show the same part"
        page.keyboard.press("b")
        expect(page.locator(".pane.unseen")).to_have_count(2)
        boxes = [pane.bounding_box() for pane in page.locator(".pane").all()]
        assert boxes[0] == boxes[1] == boxes[2]
        before = page.locator(".pane:not(.unseen)").get_attribute("data-id")
        expect(page.locator(".pane:not(.unseen)")).not_to_have_attribute("data-id", str(before))
        page.keyboard.press("w")
        eventually(page, stage, {"raw/a/0_0.jpg": "keeper"})
        expect(page.locator("dialog")).to_contain_text("0_1.jpg")


def test_selected_pictures_side_by_side_are_decided_one_by_one(browser: Browser) -> None:
    with served(Stage.of(plain(9))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        for path in ("00001.jpg", "00004.jpg", "00007.jpg"):
            page.click(tile(path), modifiers=["Control"])
        page.keyboard.press("ArrowRight")
        page.keyboard.press("c")
        expect(page.locator(".pane")).to_have_count(3)
        expect(page.locator("dialog .differing")).to_contain_text("Digest")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/b/00001.jpg": "keep"})
        expect(page.locator(".pane.current")).to_contain_text("00004.jpg")
        page.keyboard.press("a")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/b/00001.jpg": "keep", "raw/b/00004.jpg": "aside", "raw/b/00007.jpg": "keep"})
        expect(page.locator("dialog")).to_have_count(0)


def test_with_less_motion_copies_change_by_key_alone(browser: Browser) -> None:
    with served(Stage.of(copies(1))) as stage, a_tab(browser, reduced_motion="reduce") as page:
        opened(page, stage, "duplicate")
        page.keyboard.press("c")
        expect(page.locator(".pane")).to_have_count(3)
        page.keyboard.press("b")
        before = page.locator(".pane:not(.unseen)").get_attribute("data-id")
        page.wait_for_timeout(1000)
        expect(page.locator(".pane:not(.unseen)")).to_have_attribute("data-id", str(before))
        page.keyboard.press("Space")
        expect(page.locator(".pane:not(.unseen)")).not_to_have_attribute("data-id", str(before))


# Size


@pytest.mark.thorough
def test_ten_thousand_pictures_scroll_with_few_nodes_and_few_requests(browser: Browser) -> None:
    with served(Stage.of(plain(10_000))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        expect(page.locator("#shown")).to_contain_text("10,000 pictures")
        page.locator("#grid").hover()
        for _ in range(60):
            page.mouse.wheel(0, 8000)
        page.evaluate("() => document.getElementById('grid').scrollTo(0, 1e9)")
        expect(page.locator(tile("09999.jpg"))).to_be_visible()
        expect(page.locator(f"{tile('09999.jpg')} img")).to_have_js_property("complete", True)
        assert page.evaluate("() => document.querySelectorAll('*').length") < MOST_NODES
        assert stage.asked["thumb"] < 1500, "pictures that fly past are not asked for"
        page.keyboard.press("Control+End")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/09999.jpg": "keep"})


def ring(count: int) -> tuple[list[Staged], dict[str, object]]:
    """Pictures of three classes in three clouds on the map."""
    rng = random.Random(0)
    pictures = [Staged(f"raw/{'abc'[at % 3]}/{at:05d}.jpg", "abc"[at % 3]) for at in range(count)]
    angles = [2 * math.pi * (at % 3) / 3 for at in range(count)]
    return pictures, {
        "method": "pca", "labels": ["a", "b", "c"], "splits": ["raw"], "ids": [one.id for one in pictures],
        "x": [0.5 + 0.3 * math.cos(angle) + rng.gauss(0, 0.03) for angle in angles],
        "y": [0.5 + 0.3 * math.sin(angle) + rng.gauss(0, 0.03) for angle in angles],
        "label": [at % 3 for at in range(count)], "split": [0] * count, "suspicion": [at % 101 for at in range(count)],
    }  # fmt: skip


@pytest.mark.thorough
def test_a_loop_on_the_map_selects_what_lies_in_it(browser: Browser) -> None:
    pictures, points = ring(50_000)
    with served(Stage.of(pictures, points=points)) as stage, a_tab(browser) as page:
        opened(page, stage, "all", layout="map")
        expect(page.locator("#map-note")).to_contain_text("50,000 pictures")
        box = page.locator("#map-loop").bounding_box()
        assert box is not None
        side = 0.94 * min(box["width"], box["height"])
        left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
        # A loop round the cloud of class a, at the right
        corners = [(0.64, 0.3), (0.98, 0.3), (0.98, 0.7), (0.64, 0.7)]
        page.mouse.move(left + corners[0][0] * side, top + corners[0][1] * side)
        page.mouse.down()
        for x, y in corners[1:]:
            page.mouse.move(left + x * side, top + y * side, steps=5)
        page.mouse.up()
        of_a = (len(pictures) + 2) // 3
        expect(page.locator("#chosen")).to_have_text(f"{of_a:,} selected")
        took = page.evaluate(
            """async () => {
                const canvas = document.getElementById('map-loop');
                const turn = () => canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -40, cancelable: true}));
                const frame = () => new Promise(requestAnimationFrame);
                turn(); await frame(); await frame();
                const took = [];
                for (let at = 0; at < 21; at += 1) {
                    const start = performance.now();
                    turn();
                    await frame();
                    took.push(performance.now() - start);
                }
                return took.sort((one, other) => one - other)[10];
            }"""
        )
        assert took < 150, f"{took:.0f} ms a frame"
        page.get_by_role("button", name="Selected as a grid").click()
        expect(page.locator("#shown")).to_contain_text(f"{of_a:,} pictures")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})


# For everybody


@pytest.mark.thorough
@pytest.mark.parametrize(("scheme", "width"), SETTINGS)
def test_axe_finds_no_serious_fault(browser: Browser, scheme: str, width: int, tmp_path: Path) -> None:
    pictures, points = ring(300)
    found = [*plain(30), *copies(6), *pictures]
    with served(Stage.of(found, points=points)) as stage, a_tab(browser, scheme=scheme, width=width) as page:
        opened(page, stage, "duplicate")
        for key in "asn":
            page.keyboard.press(key)
        faults = {}
        steps = {
            "grid": [], "list": ["v", "Control+a"], "compare": ["Escape", "c"], "class": ["Escape", "r"],
            "keys": ["Escape", "?"], "history": ["Escape", "Shift+H"], "carry": ["Escape", "Shift+C"],
            "map": ["Escape", "Shift+M"],
        }  # fmt: skip
        for name, keys in steps.items():
            for key in keys:
                page.keyboard.press(key)
                page.wait_for_timeout(80)
            if name in {"compare", "class", "keys", "history", "carry"}:
                expect(page.locator("dialog"), name).to_have_count(1)
            page.wait_for_timeout(120)
            screenshot(page, f"review-{name}-{scheme}-{width}", tmp_path)
            faults[name] = serious_faults(page)
        assert faults == {name: [] for name in steps}
        sideways = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert sideways <= 0, "nothing scrolls sideways but what is meant to"


def test_the_grid_says_what_it_is_and_where_the_focus_is(browser: Browser) -> None:
    with served(Stage.of(plain(500))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        grid = page.get_by_role("grid")
        expect(grid).to_be_focused()
        columns = int(grid.get_attribute("aria-colcount") or 0)
        assert int(grid.get_attribute("aria-rowcount") or 0) == math.ceil(500 / columns)
        page.keyboard.press("ArrowDown")
        expect(page.locator(".tile.current")).to_contain_text(f"{columns:05d}.jpg")
        active = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
        expect(active).to_have_class(re.compile("current"))
        expect(active).to_contain_text("It is blurred.")
        page.evaluate("() => document.getElementById('grid').scrollTo(0, 9000)")
        page.wait_for_timeout(100)
        expect(active).to_be_attached()  # the focused cell stays in the document however far one scrolls


def test_keys_are_found_on_keyboards_of_other_alphabets(browser: Browser) -> None:
    with served(Stage.of([*plain(5), *copies(1)])) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")

        def typed(**key: object) -> None:
            page.evaluate(
                "key => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {...key, bubbles: true}))",
                key,
            )

        typed(key="ы", code="KeyS")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})
        typed(key="S", code="KeyS")  # Caps Lock
        eventually(page, stage, {"raw/a/00000.jpg": "keep", "raw/b/00001.jpg": "keep"})
        typed(key="s", code="KeyS", altKey=True)
        typed(key="]", code="Digit9", ctrlKey=True, altKey=True)  # AltGr
        expect(page.locator("[data-queue=proposals]")).to_have_attribute("aria-current", "page")
        assert len(decisions(stage)) == 2


def test_a_browser_that_keeps_nothing_shows_the_page_all_the_same(browser: Browser) -> None:
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        page.add_init_script(
            """for (const name of ["localStorage", "sessionStorage"])
                Object.defineProperty(window, name, {get() { throw new DOMException("", "SecurityError"); }});"""
        )
        opened(page, stage, "quality")
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})


def test_single_letters_can_be_held_back(browser: Browser) -> None:
    """WCAG 2.1.4: who speaks to the computer must not decide by saying a word."""
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("?")
        expect(page.locator("dialog")).to_contain_text("relabel: two letters of a class")
        page.get_by_label("Single letters work anywhere").uncheck()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        page.locator("#button-history").focus()
        page.keyboard.press("s")
        page.wait_for_timeout(200)
        assert decisions(stage) == {}
        page.locator("#grid").focus()
        page.keyboard.press("s")
        eventually(page, stage, {"raw/a/00000.jpg": "keep"})


def test_a_window_that_closes_takes_the_focus_from_nobody(browser: Browser) -> None:
    """Where it was before, it goes back to; but not where it has gone on to something else by then."""
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        opened(page, stage, "quality")
        page.keyboard.press("?")
        page.keyboard.press("Escape")
        expect(page.locator("#grid")).to_be_focused()
        page.keyboard.press("?")
        expect(page.locator("dialog")).to_have_count(1)
        page.evaluate(
            "() => { document.querySelector('dialog').close(); document.getElementById('button-history').focus(); }"
        )
        expect(page.locator("dialog")).to_have_count(0)
        page.wait_for_timeout(100)
        expect(page.locator("#button-history")).to_be_focused()


def test_the_page_asks_only_its_own_server(browser: Browser) -> None:
    with served(Stage.of(plain(5))) as stage, a_tab(browser) as page:
        asked: list[str] = []

        def note(request: Request) -> None:
            asked.append(request.url)

        page.on("request", note)
        opened(page, stage, "quality")
        page.keyboard.press("z")
        page.wait_for_timeout(200)
        own = stage.url.split("?")[0]
        assert [url for url in asked if not url.startswith((own, "data:", "blob:"))] == []
        assert identity("raw/a/00000.jpg") in " ".join(asked)
