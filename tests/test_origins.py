"""Which pictures have one origin, whichever service found them."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.catalog.origin_facts import OriginFacts, observed_photos, origin_facts
from curate.dataset import SPLITS
from curate.origins import origins_of, unknown_origins
from curate.sources.protocol.licenses import OPEN
from curate.split import split
from testing.localweb import LocalWeb
from tests.bringing import bring, ledger
from tests.pictures import plant

PHOTO = "https://inaturalist-open-data.s3.amazonaws.com/photos/{}/large.jpg"


def fact(sha256: str, **known: str) -> OriginFacts:
    fields = dict.fromkeys(("url", "landing_page", "title", "author", "provenance_group", "taken_at"), "")
    return OriginFacts(sha256, **{**fields, "url": f"https://example.org/{sha256}", **known})


def together(*facts: OriginFacts, observed: dict[str, str] | None = None) -> set[frozenset[str]]:
    """The sets of contents that must not part, of more than one."""
    groups = [{one.sha256} for one in facts]
    for origin in {origin for _, origin in origins_of(facts, observed or {})}:
        members = {sha256 for sha256, other in origins_of(facts, observed or {}) if other == origin}
        touched = [group for group in groups if group & members]
        groups = [group for group in groups if not group & members] + [set().union(*touched, members)]
    return {frozenset(group) for group in groups if len(group) > 1}


def of_openverse(sha256: str, photo: int, author: str = "Ann") -> OriginFacts:
    page = f"https://www.inaturalist.org/photos/{photo}"
    return fact(sha256, url=PHOTO.format(photo), landing_page=page, author=author, provenance_group=page[12:])


def of_inaturalist(sha256: str, photo: int, observation: int, author: str = "Ann") -> OriginFacts:
    page = f"https://www.inaturalist.org/observations/{observation}"
    group = f"inaturalist:{observation}"
    return fact(sha256, url=PHOTO.format(photo), landing_page=page, author=author, provenance_group=group)


def test_the_photos_id_leads_to_its_observation_whichever_source_told_it() -> None:
    observed = {"inaturalist:1": "inaturalist:77", "inaturalist:2": "inaturalist:77", "inaturalist:3": "inaturalist:78"}
    facts = [of_openverse("a", 1), of_openverse("b", 2), of_openverse("c", 3, "Ben"), of_inaturalist("d", 9, 77, "Ann")]
    assert together(*facts, observed=observed) == {frozenset("abd")}
    assert unknown_origins(facts, observed) == set()


def test_an_author_whose_observations_are_unknown_is_not_parted() -> None:
    facts = [of_openverse("a", 1), of_openverse("b", 2), of_inaturalist("c", 3, 77), of_openverse("d", 4, "Ben")]
    assert together(*facts) == {frozenset("abc")}
    assert unknown_origins(facts, {}) == {"a", "b", "d"}


def test_known_observations_of_one_author_may_part() -> None:
    assert together(of_inaturalist("a", 1, 77), of_inaturalist("b", 2, 78), of_inaturalist("c", 3, 78)) == {
        frozenset("bc")
    }


def test_one_authors_pictures_of_one_minute_are_one_series_across_sources() -> None:
    def taken(sha256: str, moment: str, author: str = "Ann Lee") -> OriginFacts:
        return fact(sha256, author=author, taken_at=moment)

    facts = [
        taken("a", "2021-05-01T10:31:58+02:00"),
        taken("b", "2021-05-01 10:32:40", "ann  lee"),
        taken("c", "2021-05-01T10:33:30"),
        taken("d", "2021-05-01 10:40:00"),
        taken("e", "2021-05-01T10:32:00", "Ben"),
        taken("f", "2021-05-02"),
        taken("g", "2021-05-02"),
        taken("h", "2021-05-03T00:00:00"),
        taken("i", "2021-05-03T00:00:00"),
        taken("j", "9999-99-99 99:99"),
        taken("k", "2021-05-01T10:32:00", ""),
        taken("l", "2021-05-01T10:32:00", ""),
    ]
    assert together(*facts) == {frozenset("abc")}, "a date alone, and nobody's name, bind nothing"


def test_photos_that_a_flickr_member_uploaded_together_are_one_series() -> None:
    def uploaded(sha256: str, owner: str, number: int) -> OriginFacts:
        return fact(sha256, landing_page=f"https://www.flickr.com/photos/{owner}/{number}")

    facts = [
        uploaded("a", "1@N0", 51_000_000),
        uploaded("b", "1@N0", 51_000_400),
        uploaded("c", "1@N0", 52_000_000),
        uploaded("d", "2@N0", 51_000_200),
    ]
    assert together(*facts) == {frozenset("ab")}


def test_stock_photographs_of_one_author_with_near_numbers_are_one_series() -> None:
    def of(service: str, number: int, author: str) -> OriginFacts:
        return fact(f"{service}{number}{author}", author=author, provenance_group=f"{service}:{number}")

    facts = [
        of("pexels", 2880507, "Ann"), of("pexels", 2880555, "Ann"), of("pexels", 2880640, "Ann"),
        of("pexels", 2881640, "Ann"), of("pexels", 2880508, "Ben"), of("pixabay", 2880508, "Ann"),
        of("pixabay", 2880570, "Ann"), of("pexels", 2880509, ""), of("pexels", 2880510, ""),
    ]  # fmt: skip
    assert together(*facts) == {
        frozenset({"pexels2880507Ann", "pexels2880555Ann", "pexels2880640Ann"}),
        frozenset({"pixabay2880508Ann", "pixabay2880570Ann"}),
    }


def test_numbered_files_of_one_author_on_commons_are_one_series() -> None:
    def file(sha256: str, title: str, author: str = "Ann") -> OriginFacts:
        return fact(sha256, title=title, author=author, landing_page=f"https://commons.wikimedia.org/wiki/File:{title}")

    facts = [
        file("a", "Rosa canina 01.jpg"),
        file("b", "Rosa canina (2).JPG"),
        file("c", "Rosa canina 3.jpg", "Ben"),
        file("d", "Rosa rugosa 1.jpg"),
        file("e", "IMG.jpg"),
        file("f", "IMG.jpg"),
        file("g", "1.jpg"),
        file("h", "2.jpg"),
    ]
    assert together(*facts) == {frozenset("ab")}


@given(
    st.lists(
        st.builds(
            lambda sha256, photo, told, author: (
                of_inaturalist(sha256, photo, photo // 3, author) if told else of_openverse(sha256, photo, author)
            ),
            st.text("abcdef", min_size=3, max_size=3),
            st.integers(1, 30),
            st.booleans(),
            st.just("Ann"),
        ),
        max_size=12,
        unique_by=lambda one: one.sha256,
    ),
    st.sets(st.integers(1, 30)),
)
def test_no_observation_is_ever_parted(facts: list[OriginFacts], told: set[int]) -> None:
    """Three neighbouring photos are one observation, of one author; sources have told some of that."""
    observed = {f"inaturalist:{photo}": f"inaturalist:{photo // 3}" for photo in told}
    groups = together(*facts, observed=observed)
    photo = {one.sha256: int(one.url.split("/")[4]) for one in facts}
    for one in facts:
        for other in facts:
            if one.sha256 < other.sha256 and photo[one.sha256] // 3 == photo[other.sha256] // 3:
                assert any({one.sha256, other.sha256} <= group for group in groups)


def test_openverses_photos_of_one_observation_do_not_part_in_a_split(tmp_path: Path) -> None:
    """Openverse gives each photo's page; iNaturalist, asked in the same run or not at all, the observation."""
    for sources in (("openverse",), ("openverse", "inaturalist", "wikimedia", "flickr")):
        out = tmp_path / "-".join(sources)
        with LocalWeb(
            plant(tmp_path / f"web {len(sources)}", {"rose": 40, "iris": 4}), relayed=True, licenses=("by",)
        ) as web:
            bring(web, out, limit=60, sources=sources, per_author=0)
        with ledger(out) as db:
            kept = dict(db.execute("SELECT path, url FROM scrape_candidates WHERE status = 'kept'").fetchall())
        report = split(out, ratio=(0.6, 0.2, 0.2), min_per_class=1)
        assert report.proof.origins == 0
        passed_on = [url for url in kept.values() if "/inaturalist/" in url]
        assert report.proof.unknown == (len(passed_on) if len(sources) == 1 else 0)
        assert len(passed_on) > 5
        sides: dict[int, set[str]] = {}
        for path, url in kept.items():
            number = int(url.split("/pictures/")[1].split("/")[0])
            name = path.removeprefix("raw/")
            sides.setdefault(number // 2, set()).update(side for side in SPLITS if (out / side / name).is_file())
        assert len(set().union(*sides.values())) > 1
        assert all(len(found) == 1 for found in sides.values())


def test_a_catalog_of_before_this_version_is_read(tmp_path: Path) -> None:
    with LocalWeb(plant(tmp_path / "web", {"rose": 4}), licenses=("by",)) as web:
        bring(web, tmp_path / "out", "rose", limit=4, licenses=OPEN)
    file = tmp_path / "out" / "catalog.sqlite"
    with ledger(tmp_path / "out") as db:
        db.execute("ALTER TABLE scrape_candidates DROP COLUMN taken_at")
    with Catalog.open_read_only(file) as catalog:
        assert len(origin_facts(catalog)) == 4
        assert observed_photos(catalog) == {}
