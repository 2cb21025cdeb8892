"""A scrape that is killed again and again brings what an undisturbed one brings, and fetches nothing twice."""

import hashlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from curate.image import decode
from testing.localweb import LocalWeb
from tests.pictures import plant

KILLS = 10
LIMIT = 36
LABELS = ("rose", "iris")
ROOT = Path(__file__).resolve().parent.parent


def scrape_as_a_process(out: Path, web: LocalWeb, *before: str) -> subprocess.Popen[bytes]:
    command = [*before, sys.executable, "-m", "tests.scraping", str(out), str(web.port), str(LIMIT), *LABELS]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(out: Path, web: LocalWeb) -> None:
    process = scrape_as_a_process(out, web)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def succeeded(out: Path) -> set[str]:
    """The URLs whose picture is known to have come whole: by the ledger, or by a whole file among the incoming."""
    if not (out / "catalog.sqlite").exists():
        return set()
    with sqlite3.connect(out / "catalog.sqlite") as db:
        whole = [int(path.name.split(".")[0]) for path in (out / "scrape.florilegium").glob("[0-9]*.jpg")]
        marks = ", ".join("?" * len(whole))
        known = f"status IN ('fetched', 'kept', 'duplicate', 'broken') OR id IN ({marks})"
        rows = db.execute(f"SELECT url FROM scrape_candidates WHERE {known}", whole).fetchall()
    db.close()
    return {url for (url,) in rows}


def outcome(out: Path) -> tuple[dict[str, bytes], list[tuple[str, ...]], list[tuple[str, ...]]]:
    pictures = {path.relative_to(out).as_posix(): path.read_bytes() for path in (out / "raw").rglob("*.jpg")}
    db = sqlite3.connect(out / "catalog.sqlite")
    columns = "label, source, picture, status, kind, path"
    fates = db.execute(f"SELECT {columns} FROM scrape_candidates ORDER BY 1, 2, 3").fetchall()
    credits_ = db.execute("SELECT sha256, url, author, license FROM credits ORDER BY 1, 2").fetchall()
    db.close()
    return pictures, fates, credits_


@pytest.mark.thorough
def test_killed_ten_times_it_brings_the_same(tmp_path: Path) -> None:
    """Ten kills at random instants, some at start-up; then one run to the end."""
    garden = plant(tmp_path / "garden", {"rose": 70, "iris": 30})
    # A copy in another class and copies in the same one: which of them is kept depends on the order of judging.
    (garden / "iris" / "0003.jpg").write_bytes((garden / "rose" / "0004.jpg").read_bytes())
    (garden / "rose" / "0010.jpg").write_bytes((garden / "rose" / "0001.jpg").read_bytes())
    (garden / "rose" / "0019.jpg").write_bytes((garden / "rose" / "0020.jpg").read_bytes())
    with LocalWeb(garden) as web:
        web.faults.pictures = {33: "gone", 35: "half", 41: "html"}
        finish(tmp_path / "undisturbed", web)
        expected = outcome(tmp_path / "undisturbed")
        assert len(expected[0]) > 50
        web.log.clear()
        web.latency = 0.12
        out, chance = tmp_path / "killed", random.Random(20261120)
        seen = 0
        for kill in range(KILLS):
            done = succeeded(out)
            before = len(web.log)
            process = scrape_as_a_process(out, web)
            if kill % 5 != 4:  # every fifth is killed wherever its start-up happens to be
                wait_for_visits(web, before)
            time.sleep(chance.uniform(0, 0.45))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            assert not done & fetched(web, before), "fetched again after it had succeeded"
            assert done <= succeeded(out)
            seen = max(seen, len(succeeded(out)))
        assert 0 < seen < len(expected[1]), "the kills fell into the middle of the work"
        done, before = succeeded(out), len(web.log)
        web.latency = 0
        finish(out, web)
        assert not done & fetched(web, before)
    pictures, fates, credits_ = outcome(out)
    assert (pictures, fates, credits_) == expected
    for path, data in pictures.items():
        assert Path(path).stem == hashlib.sha256(data).hexdigest()[:32]
        decode(data)
    assert not (out / "scrape.florilegium").exists()


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills at a system call")
def test_killed_while_a_group_is_brought_to_the_disk_it_fetches_nothing_twice(tmp_path: Path) -> None:
    """Of a group some files have their names, some do not: what the catalog calls fetched is there, whole."""
    garden = plant(tmp_path / "garden", {"rose": 40, "iris": 30})
    with LocalWeb(garden) as web:
        finish(tmp_path / "undisturbed", web)
        for call, when in (("syncfs", 2), ("rename", 12), ("fsync", 3)):
            out = tmp_path / call
            kill_at(call, when, out, web)
            whole = {path.name.split(".")[1]: path for path in (out / "scrape.florilegium").glob("[0-9]*.jpg")}
            assert all(hashlib.sha256(path.read_bytes()).hexdigest() == sha256 for sha256, path in whole.items())
            with closing(sqlite3.connect(out / "catalog.sqlite")) as db:
                on_record = db.execute("SELECT sha256 FROM scrape_candidates WHERE status = 'fetched'").fetchall()
            assert {sha256 for (sha256,) in on_record} <= whole.keys()
            done, before = succeeded(out), len(web.log)
            finish(out, web)
            assert not done & fetched(web, before)
            assert outcome(out) == outcome(tmp_path / "undisturbed")
            assert not (out / "scrape.florilegium").exists()


def kill_at(call: str, when: int, out: Path, web: LocalWeb) -> None:
    """Let a scrape run until one of its threads makes a system call for the nth time, and kill it there."""
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=SIGKILL:when={when}"]
    process = scrape_as_a_process(out, web, *inject)
    _, errors = process.communicate(timeout=60)
    if b"ptrace" in errors:
        pytest.skip("this system lets nobody trace")
    assert process.returncode == -signal.SIGKILL, errors


@pytest.mark.thorough
def test_interrupted_from_the_keyboard_it_goes_on(tmp_path: Path) -> None:
    """Ctrl-C, which every network call and every thread has to survive, leaves no part of a file."""
    with LocalWeb(plant(tmp_path / "garden", {"rose": 60, "iris": 4})) as web:
        web.latency = 0.1
        process = scrape_as_a_process(tmp_path / "out", web)
        wait_for_visits(web, 30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode not in (0, None)
        assert (tmp_path / "out" / "scrape.florilegium").is_dir()
        assert not list((tmp_path / "out" / "scrape.florilegium").glob("*.part"))
        done, before = succeeded(tmp_path / "out"), len(web.log)
        assert done
        web.latency = 0
        finish(tmp_path / "out", web)
        assert not done & fetched(web, before)


def fetched(web: LocalWeb, start: int) -> set[str]:
    return {f"{web.url}{visit.path}" for visit in web.log[start:]}


def wait_for_visits(web: LocalWeb, before: int) -> None:
    deadline = time.monotonic() + 30
    while len(web.log) <= before:
        assert time.monotonic() < deadline
        time.sleep(0.005)
