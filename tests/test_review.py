"""The review page's server: what it lists, what it puts on record, what it carries out, and what survives a kill."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curate.catalog import Catalog
from curate.catalog.decisions import decisions_since
from curate.files.lock import locked
from tests.commanding import command
from tests.pictures import contents, encoded, scene
from tests.reviewing import REPOSITORY, Served, garden
from tests.without_rights import needs_rights, read_only, without_privileges


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    running = Served.start(garden(tmp_path / "data"), "--as", "Ada")
    yield running
    if running.process.poll() is None:
        running.stop()


def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def open_counts(served: Served) -> dict[str, tuple[int, int]]:
    return {queue["name"]: (queue["count"], queue["open"]) for queue in served.get("/api/state")["queues"]}


@pytest.mark.thorough
def test_a_reviewer_decides_is_killed_and_carries_out(served: Served, tmp_path: Path) -> None:
    """Every decision is on record when it is answered; carrying out does exactly these; `restore` undoes it."""
    before = contents(data(tmp_path) / "raw")
    state = served.get("/api/state")
    assert [queue["name"] for queue in state["queues"]] == [
        "proposals", "broken", "duplicate", "leak", "conflict", "quality", "irrelevant", "mislabelled", "outlier",
        "quarantine", "all",
    ]  # fmt: skip
    assert (state["who"], state["revision"]) == ("Ada", 0)
    assert {one["name"]: one["count"] for one in state["classes"]} == {"rose": 7, "tulip": 8}
    assert open_counts(served)["duplicate"] == (2, 2)

    copies = served.queue("duplicate")
    assert list(copies) == ["raw/rose/1.jpg", "raw/rose/copy.jpg", "raw/rose/2.jpg", "raw/rose/small.jpg"]
    assert [item["reason"] for item in copies.values()] == ["", "duplicate", "", "duplicate"]
    assert copies["raw/rose/small.jpg"]["keeper"] == copies["raw/rose/2.jpg"]["id"]
    kept = served.decide(copies["raw/rose/copy.jpg"], "keep", "duplicate")
    assert kept["items"][0]["decision"]["action"] == "keep"
    swapped = served.decide(copies["raw/rose/small.jpg"], "keeper", "duplicate")
    assert {item["path"]: item["decision"]["action"] for item in swapped["items"]} == {
        "raw/rose/small.jpg": "keeper", "raw/rose/2.jpg": "aside",
    }  # fmt: skip
    stray = served.queue("conflict")["raw/tulip/stray.jpg"]
    served.decide(stray, "relabel", "conflict", label="rose")
    dark = served.queue("quality")["raw/tulip/dark.jpg"]
    served.decide(dark, "aside", "quality", reason="night")
    undone = served.decide(served.queue("broken")["raw/tulip/broken.jpg"], "aside", "broken")
    served.post("/api/undo", {"batch": undone["batch"]})
    served.kill()

    again = Served.start(data(tmp_path), "--as", "Ada")
    try:
        assert again.get("/api/state")["decided"] == {"aside": 2, "relabel": 1, "keep": 1, "keeper": 1, "restore": 0}
        assert again.queue("duplicate")["raw/rose/copy.jpg"]["decision"]["who"] == "Ada"
        assert again.queue("broken")["raw/tulip/broken.jpg"]["decision"] is None
        assert contents(data(tmp_path) / "raw") == before, "nothing has moved yet"
        dry = again.post("/api/carry-out", {"dry": True})
        assert (dry["aside"], dry["relabel"], dry["restore"]) == (2, 1, 0)
        assert dry["by_reason"] == {"duplicate": 1, "night": 1}
        again.post("/api/carry-out", {"dry": False, "token": "another"}, 409)
        done = again.post("/api/carry-out", {"dry": False, "token": dry["token"]})
        assert (done["moved"], done["relabelled"], done["restored"], done["unmoved"]) == (2, 1, 0, [])
        now = contents(data(tmp_path) / "raw")
        assert set(before) - set(now) == {"rose/2.jpg", "tulip/dark.jpg", "tulip/stray.jpg"}
        assert set(now) - set(before) == {"rose/stray.jpg"}
        assert (data(tmp_path) / "quarantine/night/raw/tulip/dark.jpg").exists()
        assert again.get("/api/state")["decided"] == {"aside": 0, "relabel": 0, "keep": 1, "keeper": 1, "restore": 0}
        again.post("/api/undo", {"batch": swapped["batch"]}, 409)
        # What lies in the quarantine comes back by the page
        aside = again.queue("quarantine")
        assert {path: item["reason"] for path, item in aside.items()} == {
            "raw/rose/2.jpg": "duplicate", "raw/tulip/dark.jpg": "night",
        }  # fmt: skip
        again.decide(aside["raw/tulip/dark.jpg"], "restore", "quarantine")
        dry = again.post("/api/carry-out", {"dry": True})
        assert (dry["aside"], dry["restore"]) == (0, 1)
        assert again.post("/api/carry-out", {"dry": False, "token": dry["token"]})["restored"] == 1
        assert (data(tmp_path) / "raw/tulip/dark.jpg").exists()
        history = again.get("/api/history")
        assert [batch["action"] for batch in history["batches"]] == [
            "carry-out", "restore", "restore", "carry-out", "undo", "aside", "aside", "relabel", "keeper", "keep",
        ]  # fmt: skip
        assert again.stop() == 0
    finally:
        if again.process.poll() is None:
            again.kill()
    assert command("restore", data(tmp_path)).code == 0
    assert contents(data(tmp_path) / "raw") == before


def test_other_commands_run_while_the_page_is_open(served: Served, tmp_path: Path) -> None:
    """And what they do is seen by the page: `restore` by somebody else is a decision that came meanwhile."""
    broken = served.queue("broken")["raw/tulip/broken.jpg"]
    served.decide(broken, "aside", "broken")
    assert command("clean", data(tmp_path), "--yes").code == 0
    assert served.queue("broken") == {}
    assert "raw/tulip/broken.jpg" in served.queue("quarantine")
    revision = served.get("/api/state")["revision"]
    assert command("restore", data(tmp_path), "--reason", "broken").code == 0
    changed = served.get("/api/changes", since=revision, queue="all")
    assert {item["path"]: item["decision"]["action"] for item in changed["items"]} == {"raw/tulip/broken.jpg": "keep"}


def test_a_catalog_that_was_rebuilt_has_the_decisions_and_takes_more(served: Served, tmp_path: Path) -> None:
    copies = served.queue("duplicate")
    served.decide(copies["raw/rose/copy.jpg"], "keep", "duplicate")
    assert command("clean", data(tmp_path), "--rebuild-catalog", "--dry-run", "--force").code == 0
    assert served.get("/api/state")["decided"]["keep"] == 1
    served.decide(served.queue("all")["raw/rose/0.jpg"], "aside", "all", reason="ugly")
    with Catalog.open(data(tmp_path) / "catalog.sqlite") as catalog:
        assert [row.path for row in decisions_since(catalog)] == ["raw/rose/copy.jpg", "raw/rose/0.jpg"]


@pytest.mark.thorough
@pytest.mark.parametrize("below_raw", [True, False])
def test_a_dataset_that_is_renamed_under_the_page_is_left_alone(tmp_path: Path, *, below_raw: bool) -> None:
    """410 in a sentence for all that is asked, nothing is written under the old name, and back again it goes on."""
    root = garden(tmp_path / "data")
    if not below_raw:  # the classes are the root's own, and the catalog stands beside the dataset
        (root / "raw").rename(tmp_path / "classes")
        root.rmdir()
        (tmp_path / "classes").rename(root)
    served = Served.start(root, "--as", "Ada")
    moved = tmp_path / "elsewhere"
    try:
        first, second, third = list(served.queue("all").values())[:3]
        batch = served.decide(first, "keep", "all")["batch"]
        served.decide(third, "aside", "all", reason="ugly")
        token = served.post("/api/carry-out", {"dry": True})["token"]
        root.rename(moved)
        before = contents(tmp_path)

        def refused() -> None:
            for path in ("/api/state", "/api/queue/all", "/api/ids/all", f"/api/picture/{second['id']}"):
                assert served.ask(path).status == 410, path
            for path in (f"/thumb/{second['id']}", f"/picture/{second['id']}"):
                assert served.ask(path).status == 410, path
            said = served.decide(second, "keep", "all", 410)["error"]
            assert str(root) in said
            assert "renamed or removed" in said
            served.post("/api/undo", {"batch": batch}, 410)
            for dry in (True, False):
                served.post("/api/carry-out", {"dry": dry, "token": token}, 410)

        refused()
        assert contents(tmp_path) == before
        assert not root.exists()
        root.mkdir()  # another one has the name
        shutil.copytree(moved / ("raw" if below_raw else "rose"), root / ("raw" if below_raw else "rose"))
        before = contents(tmp_path)
        refused()
        assert contents(tmp_path) == before

        shutil.rmtree(root)
        moved.rename(root)
        assert served.queue("all")[second["path"]]["decision"] is None
        served.decide(second, "keep", "all")
        assert served.post("/api/carry-out", {"dry": True})["aside"] == 1
    finally:
        assert served.stop() == 0


def test_carrying_out_waits_for_no_other_command(served: Served, tmp_path: Path) -> None:
    """423 says who is at work; decisions are taken meanwhile."""
    items = served.queue("all")
    served.decide(items["raw/rose/0.jpg"], "aside", "all", reason="ugly")
    dry = served.post("/api/carry-out", {"dry": True})
    with locked(data(tmp_path), "split data"):
        refused = served.post("/api/carry-out", {"dry": False, "token": dry["token"]}, 423)
        assert "split data" in refused["error"]
        undone = served.decide(items["raw/rose/1.jpg"], "aside", "all", reason="ugly")
    served.post("/api/undo", {"batch": undone["batch"]})
    served.post("/api/carry-out", {"dry": False, "token": dry["token"]}, 409)
    dry = served.post("/api/carry-out", {"dry": True})
    assert served.post("/api/carry-out", {"dry": False, "token": dry["token"]})["moved"] == 1


def test_two_windows_never_write_over_each_other(served: Served) -> None:
    item = served.queue("duplicate")["raw/rose/copy.jpg"]
    first = served.decide(item, "keep", "duplicate")
    refused = served.decide(item, "aside", "duplicate", 409)
    assert refused["items"][0]["decision"]["batch"] == first["batch"]
    assert served.queue("duplicate")["raw/rose/copy.jpg"]["decision"]["action"] == "keep"
    served.decide(served.queue("duplicate")["raw/rose/copy.jpg"], "aside", "duplicate")
    refused = served.post("/api/undo", {"batch": first["batch"]}, 409)
    assert "raw/rose/copy.jpg" in refused["error"]


def test_a_batch_that_is_not_the_last_is_undone(served: Served) -> None:
    items = served.queue("all")
    first = served.decide([items["raw/rose/0.jpg"], items["raw/rose/1.jpg"]], "aside", "all", reason="ugly")
    second = served.decide(items["raw/tulip/0.jpg"], "aside", "all", reason="ugly")
    undone = served.post("/api/undo", {"batch": first["batch"]})
    assert sorted(item["path"] for item in undone["items"]) == ["raw/rose/0.jpg", "raw/rose/1.jpg"]
    served.post("/api/undo", {"batch": first["batch"]}, 409)
    now = served.queue("all")
    assert [now[path]["decision"] for path in ("raw/rose/0.jpg", "raw/rose/1.jpg")] == [None, None]
    assert now["raw/tulip/0.jpg"]["decision"]["batch"] == second["batch"]
    assert [batch["undone"] for batch in served.get("/api/history")["batches"]] == [False, False, True]


def test_all_that_is_shown_is_accepted_at_once(served: Served) -> None:
    """Keepers among them are passed over; a picture kept for one cause is still asked about for another."""
    shown = served.get("/api/ids/proposals")
    assert shown["proposals"] == len(shown["ids"]) == open_counts(served)["proposals"][0]
    copies = served.get("/api/ids/duplicate")
    assert (len(copies["ids"]), copies["proposals"]) == (4, 2)
    items = served.get("/api/items", queue="duplicate", ids=",".join(copies["ids"]))["items"]
    taken = served.decide(items, "accept", "duplicate")
    assert {item["path"]: item["decision"] and item["decision"]["action"] for item in taken["items"]} == {
        "raw/rose/1.jpg": None, "raw/rose/copy.jpg": "aside", "raw/rose/2.jpg": None, "raw/rose/small.jpg": "aside",
    }  # fmt: skip
    assert open_counts(served)["duplicate"] == (2, 0)
    assert served.get("/api/ids/duplicate", state="open")["ids"] == []


def test_filters_and_orders(served: Served) -> None:
    tulips = (*range(5), "broken", "dark", "stray")
    assert set(served.queue("all", class_="tulip")) == {f"raw/tulip/{name}.jpg" for name in tulips}
    assert list(served.queue("all", text="RAW/ROSE/1")) == ["raw/rose/1.jpg"]
    sizes = [item["bytes"] for item in served.queue("all", sort="size", descending=1).values()]
    assert sizes == sorted(sizes, reverse=True)
    scores = [item["score"] for item in served.queue("quality", sort="score", descending=1).values()]
    assert scores == sorted(scores, reverse=True)
    assert set(served.queue("quality", reason="dark")) == {"raw/tulip/dark.jpg"}
    page = served.get("/api/queue/all", offset=3, limit=2)
    assert (page["total"], [item["path"] for item in page["items"]]) == (15, ["raw/rose/3.jpg", "raw/rose/4.jpg"])
    for wrong in ("state=x", "sort=x", "offset=-1", "offset=1e3", "limit=501", "offset=9999999999999999999999"):
        assert served.ask(f"/api/queue/all?{wrong}").status == 400


def test_a_queue_is_narrowed_by_score(served: Served) -> None:
    """A bound counts for the score as the page shows it, in two decimals; what has no score passes no bound."""
    found = {queue["name"]: queue["scores"] for queue in served.get("/api/state")["queues"]}
    assert (found["all"], found["broken"]) == (None, None)
    copies = served.queue("duplicate")
    exact, small = copies["raw/rose/copy.jpg"]["score"], copies["raw/rose/small.jpg"]["score"]
    assert found["duplicate"] == [min(exact, small), max(exact, small)]

    dark = served.queue("quality")["raw/tulip/dark.jpg"]
    shown = float(f"{dark['score']:.2f}")
    everything = served.queue("quality")
    for bounds in ({"score_min": shown}, {"score_max": shown}, {"score_min": shown, "score_max": f"{shown:.2f}"}):
        listed = served.queue("quality", **bounds)
        assert "raw/tulip/dark.jpg" in listed, bounds
        assert {item["id"] for item in listed.values()} == set(served.get("/api/ids/quality", **bounds)["ids"])
    below = served.queue("quality", score_max=round(shown - 0.01, 2))
    assert set(below) | set(served.queue("quality", score_min=shown)) == set(everything)
    assert "raw/tulip/dark.jpg" not in below

    assert exact == 1.0  # copies of the same bytes
    assert list(served.queue("duplicate", score_min=1))[:2] == ["raw/rose/1.jpg", "raw/rose/copy.jpg"]
    assert served.get("/api/ids/duplicate", score_min=0, score_max=0)["ids"] == []
    assert served.queue("all", score_min=0) == {}, "no picture of it has a score"
    assert len(served.queue("all", score_min="", score_max="")) == 15
    for wrong in ("nan", "inf", "-0.1", "1.01", "2", "1e0", "0x1", "0,5", "%D9%A1", ".", "0.5%0a", "0." + "1" * 40):
        for path in ("/api/queue/quality", "/api/ids/quality"):
            for name in ("score_min", "score_max"):
                answer = served.ask(f"{path}?{name}={wrong}")
                assert answer.status == 400, wrong
                assert name in answer.json["error"]


def test_what_is_known_of_copies_and_only_what_differs(served: Served) -> None:
    small = served.queue("duplicate")["raw/rose/small.jpg"]
    known = served.get(f"/api/picture/{small['id']}", queue="duplicate")
    assert [item["path"] for item in known["cluster_items"]] == ["raw/rose/2.jpg", "raw/rose/small.jpg"]
    facts, differing = dict(known["facts"]), dict(known["differing"])
    assert facts["pixels"] == "120 × 80"
    assert {"name", "pixels", "bytes", "sha256"} <= set(differing)
    assert not {"class", "format", "folder"} & set(differing)
    assert set(differing["pixels"]) == {item["id"] for item in known["cluster_items"]}
    assert known["credit"] is None
    assert served.get(f"/api/alike/{small['id']}")["items"] == []
    assert "audit" in served.get(f"/api/alike/{small['id']}")["why"], "says which command fills the bank"
    assert served.get("/api/map")["ids"] == []


def test_thumbnails_are_kept_beside_the_catalog(served: Served, tmp_path: Path) -> None:
    items = served.queue("all")
    item = items["raw/rose/0.jpg"]
    first = served.ask(f"/thumb/{item['id']}?size=160")
    assert (first.status, first.headers["content-type"]) == (200, "image/jpeg")
    assert first.headers["cache-control"].startswith("private")
    kept = list((data(tmp_path) / ".florilegium.thumbnails").glob("*/*.jpg"))
    assert [file.read_bytes() for file in kept] == [first.body]
    again = served.ask(f"/thumb/{item['id']}?size=160", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    kept[0].write_bytes(b"")  # as a crash of the machine may leave it
    assert served.ask(f"/thumb/{item['id']}?size=160").body == first.body
    broken = served.ask(f"/thumb/{items['raw/tulip/broken.jpg']['id']}")
    assert (broken.status, broken.headers["content-type"]) == (200, "image/jpeg")
    assert "etag" not in broken.headers
    whole = served.ask(f"/picture/{item['id']}")
    assert (whole.status, whole.headers["content-type"]) == (200, "image/jpeg")
    original = (data(tmp_path) / "raw/rose/0.jpg").read_bytes()
    assert whole.body != original, "never the file's own bytes"
    assert served.ask(f"/thumb/{item['id']}?size=161").status == 400
    assert served.ask("/thumb/0123456789abcdef").status == 404
    command("clean", data(tmp_path), "--dry-run")
    assert (data(tmp_path) / ".florilegium.thumbnails").exists(), "and no class for anybody"


def test_a_decision_on_a_file_that_changed_or_was_renamed_since_is_shown_and_told(
    served: Served, tmp_path: Path
) -> None:
    """A renamed picture has its decision; of one that changed the page says that nothing can be done, and drops it."""
    items = served.queue("all")
    changed, renamed = items["raw/rose/0.jpg"], items["raw/rose/4.jpg"]
    batch = served.decide([changed, renamed], "aside", "all", reason="ugly")["batch"]
    (data(tmp_path) / changed["path"]).write_bytes(encoded(scene(500)))
    (data(tmp_path) / renamed["path"]).rename(data(tmp_path) / "raw/rose/new.jpg")
    assert command("clean", data(tmp_path), "--dry-run", "--force").code == 0

    state = served.get("/api/state")
    assert state["decided"]["aside"] == 1
    assert any(note.startswith("raw/rose/0.jpg: 1 decision is about a picture that changed") for note in state["notes"])
    now = served.queue("all")
    assert now["raw/rose/0.jpg"]["decision"] is None
    assert now["raw/rose/new.jpg"]["decision"]["batch"] == batch
    new = now["raw/rose/new.jpg"]["id"]
    assert [row["batch"] for row in served.get(f"/api/picture/{new}")["history"]] == [batch]
    taken_back = served.post("/api/undo", {"batch": batch})
    assert [item["path"] for item in taken_back["items"]] == ["raw/rose/new.jpg"]
    assert served.get("/api/state")["notes"] == [note for note in state["notes"] if "1 decision" not in note]
    served.decide(now["raw/rose/0.jpg"] | {"decision": None}, "aside", "all", reason="ugly")
    served.decide(now["raw/rose/new.jpg"] | {"decision": None}, "aside", "all", reason="ugly")
    (data(tmp_path) / changed["path"]).unlink()
    assert command("clean", data(tmp_path), "--dry-run", "--force").code == 0

    dry = served.post("/api/carry-out", {"dry": True})
    said = "raw/rose/0.jpg is not set aside (ugly): the file has gone since."
    assert (dry["aside"], dry["lapsed"], dry["unfinished"], dry["warnings"][0]) == (1, 1, 0, said)
    done = served.post("/api/carry-out", {"dry": False, "token": dry["token"]})
    assert (done["moved"], done["finished"], done["unmoved"], done["lapsed"]) == (1, 0, [], [said])
    assert (data(tmp_path) / "quarantine/ugly/raw/rose/new.jpg").exists()
    state = served.get("/api/state")
    assert (state["decided"]["aside"], [note for note in state["notes"] if "decision" in note]) == (0, [])
    history = served.get("/api/picture/" + served.queue("quarantine")["raw/rose/new.jpg"]["id"])["history"]
    assert [(one["action"], one["reason"]) for one in history][:2] == [("carry-out", ""), ("aside", "ugly")]
    words = served.get("/api/history")["batches"][0]["words"]
    assert words == "dropped raw/rose/0.jpg: changed, moved or gone since"


def test_a_changed_file_is_not_kept_as_what_it_was(served: Served, tmp_path: Path) -> None:
    item = served.queue("all")["raw/rose/0.jpg"]
    file = data(tmp_path) / "raw/rose/0.jpg"
    file.write_bytes(encoded(scene(500)))
    assert "etag" not in served.ask(f"/thumb/{item['id']}").headers
    assert not list((data(tmp_path) / ".florilegium.thumbnails").glob("*/*.jpg"))
    served.decide(item, "aside", "all", reason="ugly")
    dry = served.post("/api/carry-out", {"dry": True})
    refused = served.post("/api/carry-out", {"dry": False, "token": dry["token"]}, 409)
    assert "changed" in refused["error"]
    assert file.exists()


@needs_rights
def test_the_page_needs_a_catalog_that_can_be_written(tmp_path: Path) -> None:
    root = garden(tmp_path / "data")
    asked = [sys.executable, str(REPOSITORY / "cli.py"), "review", str(root), "--no-open"]
    with read_only(root):
        done = subprocess.run(without_privileges(asked), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "cannot be written: review a copy of the dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_of_ones_own_is_reviewed(tmp_path: Path) -> None:
    """The newest plan is; a line about a picture that has changed since is left out, and the page says so."""
    root = garden(tmp_path / "data")
    assert command("clean", root, "--dry-run").code == 0
    lines = [json.loads(line) for line in (root / "plan.jsonl").read_text().splitlines()]
    mine: dict[str, Any] = {**lines[0], "path": "raw/rose/0.jpg", "reason": "ugly", "keeper": "", "sha256": "0" * 64}
    (root / "plan.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in [*lines, mine]))
    served = Served.start(root)
    try:
        assert len(served.queue("duplicate")) == 4
        assert any(
            note.startswith("1 line of the plan is about a picture that has gone")
            for note in served.get("/api/state")["notes"]
        )
    finally:
        served.stop()


def test_a_picture_is_upright_and_of_a_size_for_screens(tmp_path: Path) -> None:
    root = garden(tmp_path / "data")
    large = scene(60, 2600, 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "raw/rose/large.jpg").write_bytes(encoded(large, exif=exif.tobytes()))
    served = Served.start(root)
    try:
        item = served.queue("all")["raw/rose/large.jpg"]
        (tmp_path / "whole").write_bytes(served.ask(f"/picture/{item['id']}").body)
        with Image.open(tmp_path / "whole") as whole:
            assert whole.size == (158, 2048)
    finally:
        served.stop()


@pytest.mark.thorough
def test_a_server_that_starts_anew_has_the_address_of_the_one_before(served: Served, tmp_path: Path) -> None:
    """So a tab that was left open reaches it; beside one that runs, it takes another port."""
    beside = Served.start(data(tmp_path))
    assert beside.port != served.port
    assert beside.stop() == 0
    served.kill()
    again = Served.start(data(tmp_path))
    assert again.port == served.port
    assert again.stop() == 0


@pytest.mark.thorough
def test_a_full_disk_takes_no_decision_and_is_said(tmp_path: Path) -> None:
    """In a sentence that names the catalog, and no traceback; what was decided before stays on record."""
    root = garden(tmp_path / "data")
    assert command("clean", root, "--dry-run").code == 0
    running = Served.start(root, before=_small_files)
    try:
        items = list(running.queue("all").values())
        for _ in range(200):
            seen = {item["id"]: item["decision"]["batch"] for item in items if item["decision"]}
            asked = {"ids": [item["id"] for item in items], "action": "keep", "queue": "all", "seen": seen}
            answer = running.ask(
                "/api/decide", method="POST", body=json.dumps(asked).encode(),
                headers={"content-type": "application/json"},
            )  # fmt: skip
            if answer.status != 200:
                break
            items = answer.json["items"]
        assert answer.status == 400
        assert "catalog.sqlite cannot be written" in answer.json["error"]
        before = {path: item["decision"]["batch"] for path, item in running.queue("all").items()}
    finally:
        assert running.stop() == 0
    again = Served.start(root)
    assert {path: item["decision"]["batch"] for path, item in again.queue("all").items()} == before
    assert again.stop() == 0


def _small_files() -> None:
    """Files of this process end at 200 kB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
