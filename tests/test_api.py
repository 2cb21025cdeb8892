"""The Python API: complete, described, quick to import, and the same road as the command line's."""

import asyncio
import hashlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import florilegium as fl
from florilegium.event_loop import run_outside_event_loop
from florilegium.progress import chosen
from tests.commanding import command
from tests.pictures import plant
from tests.training_ground import TINY

REPOSITORY = Path(__file__).resolve().parent.parent


def guide() -> str:
    return (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")


def described(owner: str) -> set[str]:
    """The names of an owner, such as "fl", that the guide has a row for."""
    return set(re.findall(rf"^\| `{owner}\.(\w+)` \|", guide(), re.MULTILINE))


def public(owner: type) -> set[str]:
    """Methods and properties of a class of ours that begin with a letter, without what it inherits."""
    return {name for name in vars(owner) if not name.startswith("_")}


def contents(root: Path) -> dict[str, str]:
    """Digest by path, of every picture below raw/."""
    files = (file for file in (root / "raw").rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# Complete, described, quick


def test_the_guide_names_what_is_public() -> None:
    assert described("fl") == set(fl.__all__)
    assert set(fl.__all__) <= set(dir(fl))
    assert all(hasattr(fl, name) for name in fl.__all__)


def test_the_guide_names_every_method() -> None:
    from florilegium.results import CleanPlan

    attributes = {"root"}, {"path", "training", "run"}
    assert described("Dataset") - attributes[0] == public(fl.Dataset)
    assert described("Model") - attributes[1] == public(fl.Model)
    of_a_result = {"summary", "report", "draw"}
    assert described("CleanPlan") == public(CleanPlan) - of_a_result


def test_every_public_name_says_what_it_does_and_what_it_raises() -> None:
    from florilegium.results import CleanPlan

    members = [(owner, name) for owner in (fl.Dataset, fl.Model, CleanPlan) for name in public(owner)]
    named = {name: getattr(fl, name) for name in fl.__all__ if name != "__version__"}
    named |= {f"{owner.__name__}.{name}": inspect.getattr_static(owner, name) for owner, name in members}
    for name, what in named.items():
        assert inspect.getdoc(what), name
        if inspect.isfunction(what) and name != "CleanPlan.report" and name != "CleanPlan.draw":
            assert "UserError" in str(inspect.getdoc(what)), f"{name} does not say what it raises"
    for owner in (fl.Dataset, fl.Model):
        assert "UserError" in str(inspect.getdoc(owner.__init__))


def test_import_is_quick() -> None:
    script = "import sys, florilegium, json; dir(florilegium); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "florilegium" in loaded
    heavy = {"numpy", "PIL", "scipy", "torch", "timm", "rich", "typer", "sqlite3", "asyncio", "httpx2", "train", "demo"}
    assert loaded & heavy == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        getattr(fl, "Modle")  # noqa: B009


# The whole story


class Story:
    """A small garden that goes the whole way, each step once, with what it gave."""

    def __init__(self, place: Path) -> None:
        drawn = fl.draw_garden(place / "drawn", share=0.25, progress=None)
        flowers = {label: label for label in drawn.labels}
        self.scraped = fl.scrape(
            place / "garden", names=flowers, sources=[f"folder:{drawn.root / 'raw'}"], licenses="any", min_size=1,
            progress=None,
        )  # fmt: skip
        fl.draw_garden(place / "faulty", share=0.25, progress=None)
        self.garden = fl.open(place / "faulty")
        self.before = contents(self.garden.root)
        self.plan = self.garden.clean(progress=None)
        self.after_plan = contents(self.garden.root)
        self.cleaned = self.plan.carry_out(yes=True, progress=None)
        self.after_cleaning = contents(self.garden.root)
        self.restored = self.garden.restore(run=self.cleaned.run, progress=None)
        self.after_restoring = contents(self.garden.root)
        self.plan.carry_out(yes=True, progress=None)
        self.split = self.garden.split(progress=None)
        self.verified = self.garden.verify(progress=None)
        self.model = self.garden.train(
            backbone=TINY, weights="none", views=1, epochs=5, seed=3, models=place / "models", runs=place / "runs",
            progress=None,
        )  # fmt: skip
        self.evaluation = self.model.evaluate(progress=None)
        self.predictions = self.model.predict(self.garden.root / "test", place / "nothing.jpg")
        self.exported = self.garden.export(progress=None)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Story:
    return Story(tmp_path_factory.mktemp("story"))


def test_scrape_makes_a_dataset(story: Story) -> None:
    assert story.scraped.new > 50
    assert fl.open(story.scraped.dataset.root).labels == story.garden.labels
    assert "folder:" in story.scraped._repr_html_()


def test_a_plan_moves_nothing(story: Story) -> None:
    assert story.after_plan == story.before
    assert {decision.reason for decision in story.plan.plan.decisions} == {"broken", "duplicate", "conflict"}
    assert re.search(r"CleanPlan: 30 of 11\d pictures would leave .*; nothing was moved", repr(story.plan))


def test_what_was_planned_leaves_and_comes_back(story: Story) -> None:
    leaving = {decision.path for decision in story.plan.plan.decisions}
    assert story.before.keys() - story.after_cleaning.keys() == leaving
    assert story.cleaned.moved == len(leaving)
    assert sorted(story.restored.restored) == sorted(leaving)
    assert story.after_restoring == story.before


def test_split_and_verify_prove_it(story: Story) -> None:
    assert story.split.proof.near_duplicates == 0
    assert sum(story.split.counts["aster"].values()) > 0
    assert story.verified.in_order


def test_predictions_are_the_command_lines(story: Story) -> None:
    done = command(
        "predict", story.garden.root / "test", "--checkpoint", story.model.path, "--json", "--top-k", "5",
    )  # fmt: skip
    said = [json.loads(line) for line in done.out.splitlines()]
    ours = [
        {
            "path": one.path,
            "guesses": [vars(guess) for guess in one.guesses],
            "sure": one.sure,
            "familiarity": one.familiarity,
            "like_no_class": one.is_stranger,
            "views": 1,
            "checkpoint": str(story.model.path),
        }
        for one in story.predictions[:-1]
        if not isinstance(one, Exception)
    ]
    assert len(said) > 7
    assert ours == said
    assert str(story.predictions[-1]).endswith("cannot be read (No such file or directory)")


def test_evaluation_is_the_command_lines(story: Story, tmp_path: Path) -> None:
    command(
        "evaluate", story.garden.root, "--checkpoint", story.model.path, "--models", story.model.path.parent,
        "--out", tmp_path / "figures",
    )  # fmt: skip
    figures = json.loads((tmp_path / "figures" / "evaluation.json").read_text(encoding="utf-8"))
    assert (story.evaluation.accuracy.correct, story.evaluation.accuracy.n) == (figures["correct"], figures["n"])
    assert figures["test_opened"] == story.evaluation.openings + 1


@pytest.mark.thorough
def test_training_is_the_command_lines(story: Story, tmp_path: Path) -> None:
    """The same seed, options and pictures give the same classifier."""
    command(
        "train", story.garden.root, "--backbone", TINY, "--weights", "none", "--views", 1, "--set", "epochs=5",
        "--seed", 3, "--models", tmp_path / "models", "--runs", tmp_path / "runs",
    )  # fmt: skip
    other = fl.load(tmp_path / "models")
    assert [epoch.loss for epoch in other.history] == [epoch.loss for epoch in story.model.history]
    picture = next((story.garden.root / "test").rglob("*.*"))
    (ours,), (theirs,) = story.model.predict(picture), other.predict(picture)
    assert not isinstance(ours, Exception)
    assert not isinstance(theirs, Exception)
    assert ours.guesses == theirs.guesses


def test_a_model_tells_of_itself(story: Story) -> None:
    import numpy as np
    from PIL import Image

    loaded = fl.load(story.model.path)
    assert loaded.labels == story.garden.labels == loaded.names
    assert loaded.valid.n == story.model.valid.n == 8
    assert len(loaded.history) == 5
    assert story.model.run is not None
    assert (story.model.run / "curves.png").exists()
    rows = loaded.probabilities([Image.new("RGB", (90, 70), "red")] * 2)
    assert rows.shape == (2, 8)
    assert np.allclose(rows.sum(axis=1), 1)
    with pytest.raises(fl.UserError, match="say which dataset is meant"):
        loaded.evaluate()
    assert loaded.evaluate(story.garden, split="valid", progress=None).accuracy.n == 8


def test_a_random_picture_has_its_truth_beside_it(story: Story) -> None:
    first, again = (story.model.predict_random(seed=5) for _ in range(2))
    assert first == again
    assert first.truth is not None
    (label, _) = first.truth[0]
    assert f"/test/{label}/" in str(getattr(first[0], "path"))  # noqa: B009


def test_show_draws_pictures_and_views(story: Story) -> None:
    assert story.garden.show(6).size == story.garden.show(6, classes=["aster", "cosmos"]).size
    assert story.garden.show(2, views=3).width == 3 * (192 + 16)
    with pytest.raises(fl.UserError, match="nothing to draw"):
        story.garden.show(0)


def test_export_writes_for_other_tools(story: Story) -> None:
    assert story.exported.counts["train"] == sum(counts["train"] for counts in story.split.counts.values())
    assert (story.exported.out / "train" / "aster").is_dir()


# A plan


@pytest.fixture
def copies(tmp_path: Path) -> fl.Dataset:
    """Two classes with a broken file and a copy each."""
    root = tmp_path / "data"
    plant(root / "raw", {"rose": 4, "tulip": 4})
    for label in ("rose", "tulip"):
        (root / "raw" / label / "broken.jpg").write_bytes(b"<html>")
        (root / "raw" / label / "copy.jpg").write_bytes((root / "raw" / label / "0000.jpg").read_bytes())
    return fl.open(root)


def test_a_plan_is_carried_out_as_it_was_looked_at(copies: fl.Dataset) -> None:
    """Not as the file says that a later plan was written to."""
    plan = copies.clean(progress=None).without(reasons=["duplicate"], pictures=["raw/tulip/broken.jpg"])
    assert [decision.path for decision in plan.plan.decisions] == ["raw/rose/broken.jpg"]
    copies.clean(progress=None)
    plan.carry_out(yes=True, progress=None)
    assert {file.name for file in (copies.root / "quarantine").rglob("*.jpg")} == {"broken.jpg"}
    assert (copies.root / "raw" / "tulip" / "broken.jpg").exists()


def test_a_picture_that_changed_since_the_plan_stays(copies: fl.Dataset) -> None:
    plan = copies.clean(progress=None)
    (copies.root / "raw" / "rose" / "broken.jpg").write_bytes(b"mended")
    with pytest.raises(fl.UserError, match=r"broken\.jpg has changed since the plan was made"):
        plan.carry_out(yes=True, progress=None)
    assert not (copies.root / "quarantine").exists()


def test_without_takes_only_what_the_plan_names(copies: fl.Dataset) -> None:
    plan = copies.clean(progress=None)
    with pytest.raises(fl.UserError, match=r"names no picture 'raw/rose/0001\.jpg'"):
        plan.without(pictures="raw/rose/0001.jpg")
    with pytest.raises(fl.UserError, match="names no reason 'blurred'"):
        plan.without(reasons=["blurred", "broken"])


def test_restore_takes_the_choices_of_the_command_line(copies: fl.Dataset) -> None:
    assert copies.restore(progress=None).restored == []
    copies.clean(progress=None).carry_out(yes=True, progress=None)
    with pytest.raises(fl.UserError, match="There is no reason 'brokn'"):
        copies.restore(reasons="brokn", progress=None)
    assert copies.restore(reasons="broken", labels=["rose"], progress=None).restored == ["raw/rose/broken.jpg"]
    assert len(copies.restore(run="last", progress=None).restored) == 3


@pytest.mark.thorough
def test_a_flat_datasets_split_is_trained_on(tmp_path: Path) -> None:
    plant(tmp_path / "flat", {"rose": 6, "tulip": 6})
    flat = fl.open(tmp_path / "flat")
    assert flat.split_root == tmp_path / "flat"
    flat.split(dry_run=True, progress=None)
    assert flat.split_root == tmp_path / "flat"
    flat.split(progress=None)
    assert flat.split_root == tmp_path / "flat_split"
    model = flat.train(
        backbone=TINY, weights="none", views=1, epochs=1, models=tmp_path / "models", runs=tmp_path / "runs",
        progress=None,
    )  # fmt: skip
    assert model.evaluate(progress=None).accuracy.n == 2
    assert model.evaluate(flat, split="train", progress=None).accuracy.n == 8


def test_mistakes_are_user_errors(tmp_path: Path, copies: fl.Dataset) -> None:
    calls: dict[str, Callable[[], object]] = {
        "There is no folder": lambda: fl.open(tmp_path / "nothing"),
        "has no train pictures": lambda: copies.train(backbone=TINY, weights="none"),
        "has no option 'learning_rte'": lambda: copies.train(learning_rte=0.1),
        "something is there already": lambda: fl.draw_garden(copies.root),
        "is no garden": lambda: fl.draw_garden(tmp_path / "small", share=0.01),
        "no class 'orchid'": lambda: fl.scrape(tmp_path / "x", "orchid", names={"rose": "rose"}),
        "'opn' is no licence": lambda: fl.scrape(tmp_path / "x", names={"rose": "rose"}, licenses="opn"),
        "'../rose'": lambda: fl.scrape(tmp_path / "x", names={"../rose": "rose"}),
    }
    for words, call in calls.items():
        with pytest.raises(fl.UserError, match=re.escape(words)):
            call()
    assert not (tmp_path / "x").exists()


# What draws itself


class Tags(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, list[str]] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


OURS = {"div", "p", "table", "caption", "thead", "tbody", "tr", "th", "td", "img"}


def seen(drawn: Any) -> Tags:
    """What `drawn` is in a notebook; nothing in it may be of others' making."""
    html = drawn._repr_html_()
    page = Tags()
    page.feed(html)
    page.close()
    assert page.tags <= OURS, page.tags - OURS
    assert page.attributes.keys() <= {"style", "alt", "width", "src"}, page.attributes.keys()
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.attributes.get("src", []))
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", html)
    return page


EVIL = "<script>alert(1)<b>\"'&amp; onload=x \u202e\x1b[31m"
SHOWN = "<script>alert(1)<b>\"'&amp; onload=x \\u202e\\x1b[31m"


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="its file names cannot hold such signs")
def test_names_of_others_are_escaped_wherever_they_are_drawn(tmp_path: Path, one_thread: None) -> None:
    from curate.scraping.yield_report import Yield
    from florilegium.model import EvaluationResult, ModelExportResult
    from florilegium.results import Result
    from train.auditing.report import Purity

    root = tmp_path / EVIL
    plant(root / "raw", {EVIL: 6, f"{EVIL}2": 6})
    (root / "raw" / EVIL / f"{EVIL}.jpg").write_bytes(b"<html>")
    (root / "raw" / EVIL / "copy.jpg").write_bytes((root / "raw" / EVIL / "0000.jpg").read_bytes())
    evil = fl.open(root)
    drawn: list[Any] = [evil]
    plan = evil.clean(progress=None)
    cleaned = plan.carry_out(yes=True, progress=None)
    drawn += [plan, replace(cleaned, unmoved=[EVIL])]
    (root / "raw" / EVIL / f"{EVIL}.jpg").write_bytes(b"another")
    drawn.append(evil.restore(reasons="broken", progress=None))
    assert drawn[-1].occupied
    drawn.append(evil.verify(progress=None))
    assert drawn[-1].broken
    (root / "raw" / EVIL / f"{EVIL}.jpg").unlink()
    drawn.append(evil.split(progress=None))
    plant(tmp_path / "other" / "test", {EVIL: 6, f"{EVIL}2": 6})
    drawn.append(evil.compare(tmp_path / "other", progress=None))
    assert drawn[-1].leaks
    model = evil.train(
        backbone=TINY, weights="none", views=1, epochs=1, models=tmp_path / "models", runs=tmp_path / "runs",
        progress=None,
    )  # fmt: skip
    evaluation = model.evaluate(progress=None)
    assert evaluation.paths
    drawn.append(
        evil.ablate(
            backbone=TINY, weights="none", views=1, epochs=1, seeds=2, models=tmp_path / "models", progress=None
        )
    )
    audited = evil.audit(TINY, weights="none", models=tmp_path / "models", progress=None)
    suspect = replace(audited.pictures[0], irrelevant=0.9, nearest=(EVIL,))
    drawn.append(replace(audited, pictures=[suspect], purity=[Purity(EVIL, EVIL, 2, 1)], notes=[EVIL]))
    drawn += [model, evaluation, model.predict(root / "test", tmp_path / f"{EVIL}.jpg"), model.predict_random(seed=1)]
    drawn.append(evil.report(root / f"{EVIL}.html".replace("/", ""), models=tmp_path / "models", progress=None))
    exported = evil.export(out=tmp_path / "exported", progress=None)
    drawn += [replace(exported, broken=[EVIL]), model.export("safetensors", progress=None)]
    scraped = fl.scrape(
        tmp_path / "scraped", names={"rose": "rose"}, sources=[f"folder:{root / 'raw' / EVIL}"], licenses="any",
        min_size=1, progress=None,
    )  # fmt: skip
    evil_yield = Yield(EVIL, EVIL, 1, 1, 1, 1, 1, scraped.yields[0].lost)
    drawn.append(replace(scraped, yields=[evil_yield], problems=[EVIL]))

    results = {kind for kind in Result.__subclasses__() if kind.__module__.startswith("florilegium.")}
    assert {EvaluationResult, ModelExportResult} < results
    assert results <= {type(one) for one in drawn}, "a result that this test does not draw"
    for one in drawn:
        page = seen(one)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", repr(one)), type(one)
        if not isinstance(one, ModelExportResult):  # which names its own file alone
            assert SHOWN in page.text, type(one)


def test_tables_pictures_and_curves_are_drawn(story: Story) -> None:
    assert "img" in seen(story.garden).tags
    page = seen(story.plan)
    assert {"table", "img"} <= page.tags
    assert "one picture under the labels" in page.text
    assert {"table"} <= seen(story.split).tags
    assert "img" in seen(story.model).tags
    assert "table" in seen(story.evaluation).tags
    page = seen(story.predictions)
    assert "img" in page.tags
    assert "nothing.jpg: cannot be read" in page.text


def test_a_plan_whose_pictures_are_gone_still_draws(copies: fl.Dataset) -> None:
    plan = copies.clean(progress=None)
    for file in (copies.root / "raw" / "rose").iterdir():
        file.unlink()
    assert "broken.jpg" in seen(plan).text


def test_a_dataset_that_is_gone_says_so(copies: fl.Dataset) -> None:
    copies.root.rename(copies.root.with_name("elsewhere"))
    assert "There is no folder" in repr(copies)
    assert "There is no folder" in seen(copies).text


def test_what_is_drawn_does_not_go_to_the_terminal(copies: fl.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    seen(copies.clean(progress=None))
    assert capsys.readouterr() == ("", "")


# Who watches


def test_a_progress_of_ones_own_is_told_of_everything(copies: fl.Dataset) -> None:
    told: list[tuple[str, int, int]] = []

    @contextmanager
    def watch(description: str, total: int) -> Iterator[Callable[[int], None]]:
        done: list[int] = []
        yield done.append
        told.append((description, total, sum(done)))

    copies.clean(progress=watch)
    assert told
    assert all(total == done for _, total, done in told)


def test_without_a_terminal_nothing_is_shown(copies: fl.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    copies.clean()
    copies.clean(progress=None)
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_rich_shows_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    from commands.console import bars

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert chosen("auto") is bars
    assert chosen(None) is not bars


def test_scraping_works_where_an_event_loop_runs_already(tmp_path: Path) -> None:
    """As it does in the thread of a notebook's cells."""
    plant(tmp_path / "photographs", {"rose": 3})

    async def cell() -> fl.Dataset:
        fl.scrape(
            tmp_path / "data", names={"rose": "rose"}, sources=[f"folder:{tmp_path / 'photographs'}"], licenses="any",
            min_size=1,
        )  # fmt: skip
        return fl.open(tmp_path / "data")

    assert repr(asyncio.run(cell())).endswith("3 raw files of 1 classes")


def test_what_goes_wrong_in_the_other_thread_is_raised_here() -> None:
    def fail() -> None:
        raise fl.UserError("That was a mistake.")

    async def cell() -> None:
        run_outside_event_loop(fail)

    with pytest.raises(fl.UserError, match="a mistake"):
        asyncio.run(cell())


def test_an_interrupt_ends_the_work_in_the_other_thread() -> None:
    script = """
        import _thread, asyncio, signal, threading, time
        from florilegium.event_loop import run_outside_event_loop

        ended = []

        def work():
            threading.Timer(0.5, _thread.interrupt_main).start()
            try:
                while True:
                    time.sleep(0.01)
            finally:
                ended.append(True)

        async def cell():
            signal.signal(signal.SIGINT, signal.default_int_handler)  # as a notebook's kernel does for each cell
            try:
                run_outside_event_loop(work)
            except KeyboardInterrupt:
                assert ended and threading.active_count() < 3
                print("interrupted")

        asyncio.run(cell())
    """
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(script)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "interrupted", done.stderr
