"""Which pictures have one origin, whichever service found them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.catalog import Catalog
from curate.catalog.origin_facts import OriginFacts, observed_photos, origin_facts
from curate.dataset import SPLITS
from curate.origins import nameless_origins, origins_of, unknown_origins
from curate.sources.protocol.licenses import OPEN
from curate.sources.protocol.picture_urls import photo_of_page, provenance_group
from curate.split import split
from testing.localweb import LocalWeb
from tests.bringing import bring, ledger
from tests.commanding import command
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


def test_a_record_at_gbif_that_passes_an_observation_on_leads_to_it() -> None:
    passed_on = fact("b", landing_page="https://www.gbif.org/occurrence/9001", author="Ben")
    facts = [of_inaturalist("a", 1, 500), passed_on, of_inaturalist("c", 2, 501)]
    assert together(*facts, observed={"gbif:9001": "inaturalist:500"}) == {frozenset("ab")}


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


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z", True),
        ("2024-05-01T10:00:00.250+02:00", "2024-05-01 03:30:20 -0430", True),
        ("2024-05-01T23:30:00-08", "2024-05-02 07:30 UTC", True),
        ("2024-05-01T10:00:00+02:00", "2024-05-01T09:00:00Z", False),
        ("2024-05-01T10:00:00", "2024-05-01T08:00:00Z", False),
        ("2024-05-01T10:00:00+02:00", "2024-05-01T00:00:00Z", False),
        ("0001-01-01T01:00:00+02:00", "2024-05-01T08:00:00Z", False),
    ],
)
def test_one_instant_in_two_offsets_from_utc_is_one_time(one: str, other: str, is_one: bool) -> None:
    facts = [fact("a", author="Ann", taken_at=one), fact("b", author="Ann", taken_at=other)]
    assert together(*facts) == ({frozenset("ab")} if is_one else set())


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


SHORT = "https://flic.kr/p/8SPTwJ"  # of photo 5169665786


@pytest.mark.parametrize(
    ("page", "other", "is_one"),
    [
        (SHORT, "https://www.flickr.com/photos/drdrang/5169665786/in/set-72157617260543082", True),
        (f"{SHORT}/", "http://flickr.com/photos/1@N00/5169665786", True),
        ("https://www.flickr.com/photos/drdrang/5169665786", "https://flickr.com/photos/1@N00/5169665786", True),
        (SHORT, "https://www.flickr.com/photo.gne?id=5169665786", True),
        (SHORT, "https://www.flickr.com/photo.gne?short=8SPTwJ", True),
        (SHORT, "https://www.flickr.com/photos/drdrang/5169665787", False),
        (SHORT, "https://flic.kr/p/8SPTwj", False),
        (SHORT, "https://m.flickr.com/#/photos/somebody/5169665786/", True),
        (SHORT, "https://m.flickr.com/#/photos/somebody/", False),
        ("https://flic.kr/p/8SPTw0", "https://flic.kr/p/8SPTw0", False),  # 0 is no digit of it
        ("https://flic.kr/s/aHsk7", "https://flic.kr/s/aHsk7", False),  # an album
    ],
)
def test_a_short_address_on_flickr_is_its_photos_page(page: str, other: str, is_one: bool) -> None:
    assert together(fact("a", landing_page=page), fact("b", landing_page=other)) == (
        {frozenset("ab")} if is_one else set()
    )


def test_photos_that_were_uploaded_together_are_one_series_by_short_addresses_too() -> None:
    near = "https://www.flickr.com/photos/drdrang/5169665999"
    facts = [fact("a", landing_page=SHORT, author="Ann"), fact("b", landing_page=near, author="ann"),
             fact("c", landing_page=SHORT.replace("wJ", "wK"), author="Ben")]  # fmt: skip
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
        fact("f", title="IMG.jpg", author="Ann", landing_page="https://commons.wikimedia.org/w/index.php?curid=7"),
        file("g", "1.jpg"),
        file("h", "2.jpg"),
    ]
    assert together(*facts) == {frozenset("ab")}


def test_lettered_files_of_one_author_on_commons_are_one_series() -> None:
    def file(sha256: str, title: str, author: str = "Ann", day: str = "") -> OriginFacts:
        page = f"https://commons.wikimedia.org/wiki/File:{title}"
        return fact(sha256, title=title, author=author, landing_page=page, taken_at=day)

    facts = [
        file("a", "Rosa canina a.jpg"), file("b", "Rosa canina b.jpg"), file("c", "Rosa canina (C).jpg"),
        file("d", "Rosa canina_D.JPG"), file("e", "Rosa canina.jpg"), file("f", "Rosa canina IV.jpg"),
        file("g", "Rosa canina g.jpg", "Ben"), file("h", "Rosa rugosa a.jpg"), file("i", "Rosa caninab.jpg"),
        file("j", "Tulipa 01a.jpg"), file("k", "Tulipa 01b.jpg"), file("l", "Tulipa 2.jpg"),
        file("m", "A.jpg"), file("n", "B.jpg"),
        file("o", "Vitamin C.jpg", day="2020-05-01"), file("p", "Vitamin D.jpg", day="2021-07-09 10:00"),
        file("q", "Viola a.jpg", day="2020-05-01 09:00:00"), file("r", "Viola b.jpg", day="2020-05-01 11:00:00"),
        file("s", "Viola c.jpg", day="2020-05-02"),
    ]  # fmt: skip
    assert together(*facts) == {frozenset("abcdef"), frozenset("jkl"), frozenset("qr")}


X = "https://herbarium.example/sheets/17"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"provenance_group": "gbif:9003", "landing_page": X},
            {"landing_page": "https://www.gbif.org/occurrence/9003"},
        ),
        ({"provenance_group": "gbif:9003"}, {"landing_page": "https://api.gbif.org/v1/occurrence/9003"}),
        ({"provenance_group": "gbif:1", "landing_page": X}, {"landing_page": X, "provenance_group": X[8:]}),
        ({"landing_page": X}, {"landing_page": "http://www.herbarium.example/sheets/17/?utm_source=a#top"}),
        ({"landing_page": f"{X}?b=1&a=2"}, {"landing_page": f"{X}?a=2&b=1"}),
        (
            {"landing_page": "https://commons.wikimedia.org/wiki/File:Rosa_a.jpg"},
            {"landing_page": "https://commons.m.wikimedia.org/w/index.php?title=File:Rosa%20a.jpg"},
        ),
        (
            {"landing_page": "https://www.flickr.com/photos/1@N0/5"},
            {"landing_page": "https://m.flickr.com/photos/1@N0/5/in/photostream"},
        ),
        (
            {"provenance_group": "inaturalist:501"},
            {"landing_page": "https://uk.inaturalist.org/observations/501", "provenance_group": "mine"},
        ),
    ],
)
def test_one_source_page_never_parts_whichever_source_found_it(one: dict[str, str], other: dict[str, str]) -> None:
    assert together(fact("a", **one), fact("b", **other)) == {frozenset("ab")}


@pytest.mark.parametrize(
    "page",
    [
        "https://herbarium.example/",
        "https://herbarium.example/search?name=rosa",
        "https://herbarium.example/list?q=rosa",
        "https://herbarium.example/users/ann",
        "https://herbarium.example/@ann",
        "https://www.inaturalist.org/observations?place_id=1",
        "https://www.flickr.com/photos/ann",
        "https://commons.wikimedia.org/wiki/Category:Rosa",
        "https://doi.org/10.15468/dl.hx3uzz",
        "http://[",
    ],
)
def test_a_page_of_many_records_binds_none_of_them(page: str) -> None:
    assert together(*(fact(name, provenance_group=f"gbif:{name}", landing_page=page) for name in "ab")) == set()


def test_a_page_that_every_record_of_a_dataset_names_is_no_records_own() -> None:
    records = [fact(f"{key}", provenance_group=f"gbif:{key}", landing_page=X) for key in range(30)]
    assert together(*records) == set()
    assert together(*records[:3]) == {frozenset("012")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {
                "title": "Rosa garden (1).jpg",
                "landing_page": "https://commons.wikimedia.org/wiki/File:Rosa_garden_(1).jpg",
            },
            {"title": "File:Rosa garden (2).JPG"},
        ),
        ({"title": "Rosa_canina_01.jpg"}, {"title": "Rosa canina 02.png"}),
        ({"title": "File:Rosa canina.jpg"}, {"title": "Rosa_canina_(2).jpg"}),
        (
            {"url": "https://upload.wikimedia.org/wikipedia/commons/a/ab/Rosa_canina_01.jpg"},
            {"url": "https://upload.wikimedia.org/wikipedia/commons/thumb/b/bc/Rosa_canina_02.jpg/960px-x.jpg"},
        ),
        (
            {"landing_page": "https://commons.m.wikimedia.org/wiki/File:Rosa%20canina%2001.jpg", "title": "A rose"},
            {"landing_page": "https://commons.wikimedia.org/w/index.php?curid=77", "title": "rosa canina 2"},
        ),
    ],
)
def test_a_numbered_series_of_commons_does_not_part_by_its_routes(one: dict[str, str], other: dict[str, str]) -> None:
    assert together(fact("a", author="Ann", **one), fact("b", author="ann", **other)) == {frozenset("ab")}
    assert together(fact("a", author="Ann", **one), fact("b", author="Ben", **other)) == set()


def test_titles_elsewhere_and_words_that_end_in_a_number_are_no_series_of_commons() -> None:
    flickr = "https://www.flickr.com/photos/1@N0/{}"
    assert together(
        fact("a", author="Ann", title="IMG 1.jpg", landing_page=flickr.format(1_000_000)),
        fact("b", author="Ann", title="IMG 2.jpg", landing_page=flickr.format(9_000_000)),
        fact("c", author="Ann", title="Rose 1"),
        fact("d", author="Ann", title="Rose 2"),
    ) == set()  # fmt: skip


def test_photos_that_name_neither_observation_nor_author_are_said_to_stand_alone() -> None:
    facts = [of_openverse("a", 1, ""), of_openverse("b", 2, ""), of_openverse("c", 3), of_openverse("d", 4)]
    assert together(*facts) == {frozenset("cd")}
    assert unknown_origins(facts, {}) == set("abcd")
    assert nameless_origins(facts, {}) == set("ab")
    told = [*facts, fact("a", landing_page="https://inaturalist.nz/observations/5")]
    assert unknown_origins(told, {}) == set("bcd"), "one credit that tells it is enough"


@pytest.mark.parametrize(
    "site",
    ["www.inaturalist.org", "inaturalist.org", "uk.inaturalist.org", "inaturalist.nz", "inaturalist.ca",
     "inaturalist.mma.gob.cl", "colombia.inaturalist.org", "inaturalist.ala.org.au", "www.naturalista.mx"],
)  # fmt: skip
def test_all_sites_of_inaturalist_show_the_same_observations_and_photos(site: str) -> None:
    assert provenance_group(f"https://{site}/observations/501?locale=de") == "inaturalist:501"
    assert photo_of_page(f"https://{site}/photos/9") == "inaturalist:9"
    other = site.replace("inaturalist", "myinaturalist").replace("www.naturalista", "naturalistas")
    assert not provenance_group(f"https://{other}/observations/501").startswith("inaturalist:")


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


def test_the_proof_says_how_many_photos_stand_alone(tmp_path: Path) -> None:
    with LocalWeb(plant(tmp_path / "web", {"rose": 24, "iris": 4}), relayed=True, licenses=("by",)) as web:
        bring(web, tmp_path / "out", limit=24, sources=("openverse",), per_author=0)
    with ledger(tmp_path / "out") as db:
        photos = db.execute(
            "SELECT DISTINCT sha256 FROM credits WHERE landing_page GLOB '*inaturalist*' ORDER BY sha256"
        ).fetchall()
        db.execute("UPDATE credits SET author = '' WHERE sha256 IN (?, ?)", (photos[0][0], photos[1][0]))
    ran = command("split", tmp_path / "out")
    assert ran.code == 0, ran.err
    said = ran.out
    words = (
        f"of {len(photos)} pictures, whose observations no source told: kept with all else of their authors, but for 2"
    )
    assert f"{words} that name none and stand alone" in " ".join(said.split())


def test_a_catalog_of_before_this_version_is_read(tmp_path: Path) -> None:
    with LocalWeb(plant(tmp_path / "web", {"rose": 4}), licenses=("by",)) as web:
        bring(web, tmp_path / "out", "rose", limit=4, licenses=OPEN)
    file = tmp_path / "out" / "catalog.sqlite"
    with ledger(tmp_path / "out") as db:
        db.execute("ALTER TABLE scrape_candidates DROP COLUMN taken_at")
    with Catalog.open_read_only(file) as catalog:
        assert len(origin_facts(catalog)) == 4
        assert observed_photos(catalog) == {}
