"""A small garden with known faults that goes the whole way by the commands, for the tests of what is told of it."""

import io
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from commands import scraping_reports
from curate.catalog import Catalog
from curate.catalog.credits import CreditRow, enter_credit
from testing.localweb import LocalWeb
from tests.bringing import bring
from tests.commanding import command
from tests.reading_reports import ReadReport
from tests.training_ground import COLOURS, TINY, grow, picture

SOURCES = ("openverse", "inaturalist")


class Walked:
    """A garden that went the whole way by the commands, and what each of them printed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.data = place / "garden"
        self.printed: dict[str, str] = {}
        grow(place, {"served": 20}, classes=4)
        with LocalWeb(place / "served") as web:
            scraped = bring(web, self.data, *COLOURS, sources=SOURCES)
        self.printed["scrape"] = printed_by(lambda: scraping_reports.scraping(scraped))
        self.plant()
        self.walk("clean", "clean", self.data, "--yes")
        self.walk("split", "split", self.data)
        self.walk(
            "train", "train", self.data, "--backbone", TINY, "--weights", "none", "--models", place / "models",
            "--runs", place / "runs", "--set", "epochs=4", "--views", 1,
        )  # fmt: skip
        (self.checkpoint,) = (place / "models").glob("*.pth")
        self.walk("audit", "audit", self.data, "--checkpoint", self.checkpoint, "--models", place / "models")
        for split in ("valid", "test"):
            self.walk(
                split, "evaluate", self.data, "--split", split, "--checkpoint", self.checkpoint, "--models",
                place / "models", "--out", place / split,
            )  # fmt: skip
        self.walk("dry-run", "clean", self.data, "--dry-run", "--save-plan", place / "plan.jsonl")
        self.walk("verify", "verify", self.data)

    def plant(self) -> None:
        """A smaller copy, the same bytes under another label, a file that is cut off, and one that is dark."""
        rose, iris = (sorted((self.data / "raw" / label).glob("*.jpg")) for label in ("rose", "iris"))
        picture(COLOURS["rose"], 77, (880, 760)).save(self.data / "raw" / "rose" / "large.jpg", quality=95)
        picture(COLOURS["rose"], 77, (880, 760)).resize((440, 380)).save(self.data / "raw" / "rose" / "small.jpg")
        shutil.copy(iris[0], self.data / "raw" / "rose" / "an iris.jpg")
        (self.data / "raw" / "iris" / "cut.jpg").write_bytes(rose[0].read_bytes()[:900])
        picture(COLOURS["iris"], 78).point(lambda level: level // 8).save(self.data / "raw" / "iris" / "dark.jpg")

    def walk(self, name: str, *arguments: object) -> None:
        ended = command(*arguments)
        assert ended.code == 0, (arguments, ended.out, ended.err)
        self.printed[name] = ended.out

    def report(self, out: Path, *more: object) -> ReadReport:
        ended = command("report", self.data, "--models", self.place / "models", "--out", out, *more)
        assert ended.code == 0, (ended.out, ended.err)
        return ReadReport(out)


def printed_by(say: Callable[[], None]) -> str:
    """What a report prints in a terminal as wide as that of `command`."""
    out = io.StringIO()
    with redirect_stdout(out), patch.dict(os.environ, COLUMNS="10000"):
        say()
    return out.getvalue()


NASTY = "<script>alert(1)</script> \"'&` \u202e{{ 7 * 7 }}"


def hostile_garden(place: Path) -> Path:
    """Class, file, title, author and links that are markup, script, quotes, templates and escapes."""
    root = place / "data<b>&"
    for number, label in enumerate(("<img src=x onerror=alert(2)>", NASTY.replace("/", "")), start=1):
        for at in range(6):
            file = root / "raw" / label / f'"><svg onload=alert({at})>.jpg'
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(list(COLOURS.values())[number], 10 * number + at).save(file)
    assert command("clean", root).code == 0
    with Catalog.open(root / "catalog.sqlite") as catalog:
        for at, one in enumerate(catalog.pictures()):
            url = ("javascript:alert(3)", "data:text/html,<script>", "https://a.example/?<\">'")[at % 3]
            fields = (url, "openverse", "1", url, NASTY, NASTY, NASTY, url, "", "2026-01-01")
            with catalog.transaction():
                enter_credit(catalog, CreditRow(one.sha256, *fields))
    return root
