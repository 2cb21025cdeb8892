"""The page of `serve`, in a real browser: a picture is dropped, pasted or chosen, and named; a click draws the map."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browsing import SETTINGS, a_browser, a_tab, screenshot, serious_faults
from tests.commanding import command
from tests.forking import Forks
from tests.serving import Served, serving
from tests.training_ground import picture, small_checkpoint
from train.checkpoint import save_checkpoint

MARKUP = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"

OVERHEAR = """
    const plain = window.fetch;
    window.fetch = async (...asked) => {
        const answer = await plain(...asked);
        if (String(asked[0]).includes("/api/predict")) window.overheard = await answer.clone().json();
        return answer;
    };
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as started:
        yield started


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One class bears markup, as a stranger's checkpoint may."""
    made = replace(small_checkpoint(), names=["rose", "Ähre", f"{MARKUP}\u202eiris"])
    return save_checkpoint(made, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(checkpoint: Path, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(forks, checkpoint, "--most-upload", 1, cwd=tmp_path_factory.mktemp("served")) as found:
        yield found


def photograph(seed: int = 4) -> bytes:
    stream = BytesIO()
    picture((200, 60, 110), seed, (640, 480)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def opened(page: Page, server: Served) -> Page:
    page.goto(server.url)
    expect(page.get_by_role("heading", name="What is it?")).to_be_visible()
    assert "token" not in page.url, "the token does not stay in the address"
    return page


def bring(page: Page, event: str, *files: tuple[str, str, bytes]) -> None:
    """Drop or paste files: name, type, bytes."""
    listed = [[name, kind, base64.b64encode(data).decode()] for name, kind, data in files]
    page.evaluate(
        """([event, files]) => {
            const given = new DataTransfer();
            for (const [name, kind, data] of files) {
                const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
                given.items.add(new File([bytes], name, { type: kind }));
            }
            const options = { bubbles: true, cancelable: true };
            const made = event === "paste"
                ? new ClipboardEvent("paste", { ...options, clipboardData: given })
                : new DragEvent(event, { ...options, dataTransfer: given });
            document.getElementById("drop").dispatchEvent(made);
        }""",
        [event, listed],
    )


def card(page: Page, name: str) -> Locator:
    return page.locator("article").filter(has_text=name)


def shares(answer: Locator) -> list[tuple[str, str]]:
    """Each bar's name and percentage."""
    return [
        (bar.locator(".name").inner_text(), bar.locator(".share").inner_text())
        for bar in answer.locator(".bars li").all()
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_picture_is_named_as_predict_names_it(
    browser: Browser, server: Served, checkpoint: Path, tmp_path: Path, way: str
) -> None:
    """The page's own requests carry probabilities within 1e-6 of the command's; shown they are rounded."""
    (tmp_path / "rose.jpg").write_bytes(photograph())
    done = command("predict", tmp_path / "rose.jpg", "--checkpoint", checkpoint, "--json")
    guesses = json.loads(done.out)["guesses"]
    with a_tab(browser) as page:
        page.add_init_script(OVERHEAR)
        opened(page, server)
        if way == "choose":
            page.locator("#files").set_input_files(tmp_path / "rose.jpg")
        else:
            bring(page, way, ("rose.jpg", "image/jpeg", photograph()))
        answer = card(page, "rose.jpg")
        expect(answer.locator(".bars li")).to_have_count(3)
        (told,) = page.evaluate("() => overheard")["pictures"]
        for one, other in zip(told["guesses"], guesses, strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
        shown = [share for _, share in shares(answer)]
        assert shown == [f"{100 * one['probability']:.1f}%" for one in guesses]
        widths = [bar.bounding_box() for bar in answer.locator(".filled").all()]
        tracks = [bar.bounding_box() for bar in answer.locator(".track").all()]
        for width, track, one in zip(widths, tracks, guesses, strict=True):
            assert width is not None
            assert track is not None
            assert width["width"] / track["width"] == pytest.approx(one["probability"], abs=0.02)
        expect(page.locator("#status")).to_have_text("1 picture is answered.")


def test_a_click_draws_the_map_and_another_takes_it_away(browser: Browser, server: Served) -> None:
    with a_tab(browser) as page:
        opened(page, server)
        bring(page, "drop", ("rose.jpg", "image/jpeg", photograph()))
        answer = card(page, "rose.jpg")
        image, whole = answer.locator("img"), answer.locator(".picture")
        expect(answer.locator(".bars li")).to_have_count(3)
        plain = image.get_attribute("src")
        with page.expect_response("**/api/explain*") as drawn:
            whole.click()
        assert drawn.value.status == 200
        expect(image).not_to_have_attribute("src", str(plain))
        expect(image).to_have_attribute("alt", re.compile("^(What|Nothing here) speaks for "))
        first = image.get_attribute("src")
        size = page.evaluate("(image) => image.decode().then(() => image.naturalWidth)", image.element_handle())
        assert size == 768, "the whole picture, as sharp as it is"
        second = answer.locator(".bars button").nth(1)
        second.focus()
        page.keyboard.press("Enter")
        expect(second).to_have_attribute("aria-pressed", "true")
        expect(image).not_to_have_attribute("src", str(first))
        whole.click()
        expect(image).to_have_attribute("src", str(plain))
        expect(answer.locator("[aria-pressed=true]")).to_have_count(0)


def test_names_are_text(browser: Browser, server: Served) -> None:
    """A file's, and a class's of a stranger's checkpoint."""
    with a_tab(browser) as page:
        opened(page, server)
        bring(page, "drop", (f"{MARKUP}.jpg", "image/jpeg", photograph()), ("x.jpg", "image/jpeg", b"no picture"))
        expect(page.locator("article .bars li")).to_have_count(3)
        assert any(MARKUP in name for name, _ in shares(page.locator("article").filter(has=page.locator("li"))))
        expect(page.locator("h3").filter(has_text="onerror")).to_have_text(f"{MARKUP}.jpg")
        expect(card(page, "x.jpg").locator(".sentence")).to_contain_text("No picture can be read")
        page.locator("article .picture:not([disabled])").click()
        expect(page.locator("img[alt*=' speaks for ']")).to_be_visible()
        assert page.title().startswith("What is it?")
        assert page.locator("main script").count() == 0


def test_many_are_answered_and_what_is_too_large_is_said(browser: Browser, server: Served) -> None:
    with a_tab(browser) as page:
        opened(page, server)
        files = [(f"{number}.jpg", "image/jpeg", photograph(number)) for number in range(9)]
        bring(page, "drop", *files, ("large.jpg", "image/jpeg", bytes(1_000_001)))
        said = "9 pictures are answered. 1 could not be: its card says why."
        expect(page.locator("#status")).to_have_text(said, timeout=60_000)
        expect(page.locator("article .bars")).to_have_count(10)
        assert all(len(shares(card(page, f"{number}.jpg"))) == 3 for number in range(9))
        expect(card(page, "large.jpg").locator(".sentence")).to_contain_text("more than 1,000,000 bytes")
        bring(page, "drop", ("notes.txt", "text/plain", b"no picture"))
        expect(page.locator("#status")).to_have_text("That is no picture.")


def test_what_is_left_out_is_named(browser: Browser, server: Served) -> None:
    """A file that is no picture, among pictures: its name stays beside the count."""
    with a_tab(browser) as page:
        opened(page, server)
        paper = (MARKUP, "application/pdf", b"%PDF-1.4")
        bring(page, "drop", ("rose.jpg", "image/jpeg", photograph()), paper)
        said = f"1 picture is answered. {MARKUP} is no picture, and was left out."
        expect(page.locator("#status")).to_have_text(said)
        bring(page, "drop", paper, paper, ("iris.jpg", "image/jpeg", photograph(5)))
        expect(page.locator("#status")).to_contain_text(
            "2 pictures are answered. 2 files are no pictures, and were left"
        )
        bring(page, "drop", ("empty.jpg", "image/jpeg", b""))
        expect(card(page, "empty.jpg").locator(".sentence")).to_have_text("The file is empty.")
        expect(page.locator("#status")).to_have_text("2 pictures are answered. 1 could not be: its card says why.")
        bring(page, "drop", ("broken.jpg", "image/jpeg", b"no picture"))
        said = "2 pictures are answered. 2 could not be: their cards say why."
        expect(page.locator("#status")).to_have_text(said)


def test_a_file_that_is_gone_is_not_blamed_on_the_server(browser: Browser, server: Served, tmp_path: Path) -> None:
    rose, iris = tmp_path / "rose.jpg", tmp_path / "iris.jpg"
    rose.write_bytes(photograph())
    iris.write_bytes(photograph(5))
    with a_tab(browser) as page:
        opened(page, server)
        page.locator("#files").set_input_files([rose, iris])
        expect(page.locator("article .bars li")).to_have_count(6)
        rose.unlink()
        card(page, "rose.jpg").locator(".bars button").first.click()
        expect(card(page, "rose.jpg").locator(".hint")).to_contain_text("The file cannot be read")
        page.route("**/api/explain*", lambda route: route.abort())
        card(page, "iris.jpg").locator(".bars button").first.click()
        expect(card(page, "iris.jpg").locator(".hint")).to_contain_text("The server cannot be reached")


def test_no_map_stands_under_another_class(browser: Browser, server: Served) -> None:
    """Where one cannot be drawn the picture itself is shown again, and no class is marked."""
    with a_tab(browser) as page:
        opened(page, server)
        bring(page, "drop", ("rose.jpg", "image/jpeg", photograph()))
        answer = card(page, "rose.jpg")
        image, bars = answer.locator("img"), answer.locator(".bars button")
        expect(bars).to_have_count(3)
        plain = str(image.get_attribute("src"))
        bars.first.click()
        expect(image).not_to_have_attribute("src", plain)
        page.route("**/api/explain*", lambda route: route.fulfill(status=500, json={"error": "It went wrong."}))
        bars.nth(1).click()
        expect(answer.locator(".hint")).to_have_text("It went wrong.")
        expect(image).to_have_attribute("src", plain)
        expect(answer.locator("[aria-pressed=true]")).to_have_count(0)
        expect(answer.locator(".cut")).to_be_hidden()


def test_what_the_browser_cannot_show_is_named_all_the_same(browser: Browser, server: Served) -> None:
    stream = BytesIO()
    Image.open(BytesIO(photograph())).resize((160, 120)).save(stream, "TIFF")
    with a_tab(browser) as page:
        opened(page, server)
        bring(page, "drop", ("scan.tif", "image/tiff", stream.getvalue()))
        answer = card(page, "scan.tif")
        expect(answer.locator(".bars li")).to_have_count(3)
        expect(answer.locator(".unshown")).to_be_visible()
        answer.locator(".picture").click()
        expect(answer.locator("img")).to_be_visible()


def test_a_busy_server_is_asked_again(browser: Browser, server: Served) -> None:
    refusals = 0
    with a_tab(browser) as page:
        opened(page, server)

        def busy(route: object) -> None:
            nonlocal refusals
            refusals += 1
            if refusals < 3:
                route.fulfill(status=503, headers={"retry-after": "0.1"}, json={"error": "busy"})  # type: ignore[attr-defined]
            else:
                route.continue_()  # type: ignore[attr-defined]

        page.route("**/api/predict*", busy)
        bring(page, "drop", ("rose.jpg", "image/jpeg", photograph()))
        expect(card(page, "rose.jpg").locator(".bars li")).to_have_count(3)
        assert refusals == 3


@pytest.mark.thorough
@pytest.mark.parametrize(("scheme", "width"), SETTINGS)
def test_nothing_keeps_anybody_out(
    browser: Browser, server: Served, tmp_path: Path, scheme: str, width: int, flowers: Path
) -> None:
    """axe-core, before a picture, with answers and with a map; nothing is wider than the screen."""
    shown = sorted((flowers / "valid").rglob("*.jpg"))[::97][:2]
    with a_tab(browser, scheme=scheme, width=width) as page:
        opened(page, server)
        screenshot(page, f"serve-empty-{scheme}-{width}", tmp_path)
        empty = serious_faults(page)
        files = [(f"{file.parent.name}-{file.name}", "image/jpeg", file.read_bytes()) for file in shown]
        bring(page, "drop", ("broken.jpg", "image/jpeg", b"no picture"), *files)
        expect(page.locator("article .bars li")).to_have_count(6, timeout=30_000)
        expect(page.locator("article.failed")).to_have_count(1)
        page.locator("article .picture:not([disabled])").first.click()
        expect(page.locator("img[alt*=' speaks for ']")).to_be_visible()
        page.evaluate("() => scrollTo(0, 0)")
        screenshot(page, f"serve-{scheme}-{width}", tmp_path)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert [*empty, *serious_faults(page)] == []
