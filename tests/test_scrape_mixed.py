"""Three classes of a hundred from all sources at once, which overlap and know different things of one picture."""

from pathlib import Path

import pytest

from curate.dataset import SPLITS
from curate.scrape import Scraped
from curate.split import split
from testing.localapis import SERVICES
from testing.localweb import LocalWeb
from tests.bringing import bring, ledger
from tests.pictures import plant

LABELS = ("iris", "rose", "tulip")
COUNT = 100


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalWeb, Scraped, Path]:
    folder = tmp_path_factory.mktemp("mixed")
    garden = plant(folder / "garden", dict.fromkeys(LABELS, COUNT))
    with LocalWeb(garden, relayed=True, strays=True, licenses=("by", "by-sa", "cc0")) as web:
        report = bring(web, folder / "out", *LABELS, limit=COUNT, sources=tuple(SERVICES), per_author=0)
    return web, report, folder / "out"


def kept(out: Path) -> list[tuple[str, str, str, str, int]]:
    """(label, path, author, licence, number on the local web) of each picture that was kept."""
    with ledger(out) as db:
        rows = db.execute("SELECT label, path, author, license, url FROM scrape_candidates WHERE status = 'kept'")
        return [(*row[:4], int(row[4].split("/pictures/")[1].split("/")[0])) for row in rows]


def test_all_come_and_none_of_another_taxon(scraped: tuple[LocalWeb, Scraped, Path]) -> None:
    web, report, out = scraped
    assert report.problems == []
    assert {one.source for one in report.yields if one.unique} == {"openverse", "wikimedia", "inaturalist", "flickr"}
    assert {one.source for one in report.yields} == set(SERVICES)
    assert report.new == len(kept(out)) == len(LABELS) * COUNT
    assert all(web.pictures[number].label == label for label, _, _, _, number in kept(out))


def test_each_has_the_author_and_the_licence_of_its_record(scraped: tuple[LocalWeb, Scraped, Path]) -> None:
    web, _, out = scraped
    for _, _, author, licence, number in kept(out):
        assert (author, licence) == (web.pictures[number].author, web.pictures[number].license)


def test_the_yield_adds_up_to_the_last_picture(scraped: tuple[LocalWeb, Scraped, Path]) -> None:
    _, report, out = scraped
    for one in report.yields:
        assert one.found == one.unique + one.lost.total(), one
    with ledger(out) as db:
        ((found,),) = db.execute(
            "SELECT (SELECT COUNT(*) FROM scrape_candidates) + SUM(repeats) + SUM(odd) FROM scrape_searches"
        )
    assert sum(one.found for one in report.yields) == found
    assert sum(one.unique for one in report.yields) == report.new


def test_no_observation_is_parted(scraped: tuple[LocalWeb, Scraped, Path]) -> None:
    web, _, out = scraped
    report = split(out)
    assert (report.proof.copies, report.proof.origins) == (0, 0)
    sides: dict[int, set[str]] = {}
    for _, path, _, _, number in kept(out):
        for side in SPLITS:
            if (out / side / path.removeprefix("raw/")).is_file():
                sides.setdefault(web.pictures[number].observation, set()).add(side)
    assert len(set().union(*sides.values())) == 3
    assert [number for number, found in sides.items() if len(found) > 1] == []
