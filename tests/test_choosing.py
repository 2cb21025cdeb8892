"""The choice of which copy stays is the same, made for all clusters at once or for some at a time."""

import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import ImageOps

from curate.catalog import Catalog
from curate.cleaning import choosing, keepers
from curate.cleaning.choosing import Choice, LocalCopies
from curate.cleaning.clean_options import CleanOptions
from curate.cleaning.planning import CleaningPlan, make_plan
from curate.dataset import open_dataset
from curate.defaults import PolicyName
from curate.engine.engines import LocalEngine
from curate.errors import UserError
from curate.lookalikes.clusters import Cluster
from curate.parallel import processors
from curate.scan import scan
from tests.pictures import encoded, save, scene, write
from tests.test_keepers import credit


def dataset_of_copies(root: Path) -> Path:
    """Five clusters, of two to four contents, among them a crop of a crop; the same bytes twice; and pictures alone."""
    folder = root / "raw" / "rose"
    for seed in range(5):
        picture = scene(seed, 320, 240)
        save(picture, folder / f"{seed} whole.jpg", quality=95)
        save(picture.resize((200, 150)), folder / f"{seed} small.jpg")
        if seed % 2:
            part = picture.crop((16, 12, 304, 228))
            save(part, folder / f"{seed} part.jpg")
            save(part.crop((10, 8, 278, 208)), folder / f"{seed} part of it.jpg")
        if seed == 2:
            save(ImageOps.expand(picture, 20, "white"), folder / f"{seed} framed.jpg")
    for number in range(2):
        write(folder / f"twice {number}.jpg", encoded(scene(70, 320, 240)))
    for seed in range(80, 84):
        save(scene(seed, 320, 240), folder / f"{seed} alone.jpg")
    credit(root, "raw/rose/3 part.jpg")
    return root


class InParts(LocalCopies):
    """Chooses for some clusters at a time, from what is left of a part when it is sent and comes back."""

    def __init__(self) -> None:
        self.parts: list[Choice] = []
        self.whole: list[Cluster] = []

    def keepers(self, choice: Choice) -> list[Cluster]:
        anew = replace(choice, evidence=choice.evidence.of(choice.pictures))
        self.parts = [pickle.loads(pickle.dumps(part)) for part in choice.parts()]
        found = choice.joined((part, part.keepers()) for part in self.parts)
        self.whole = anew.keepers()
        assert found == self.whole
        return found


def planned(root: Path, options: CleanOptions, copies: LocalCopies | None = None) -> CleaningPlan:
    """The plan, where this chooses among copies."""
    data = open_dataset(root)
    with (
        Catalog.open(data.catalog_path) as catalog,
        patch.object(LocalEngine, "copies", lambda _: copies or LocalCopies()),
    ):
        scan(data, catalog)
        return make_plan(data, catalog, options)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset_of_copies(tmp_path_factory.mktemp("copies"))


@pytest.mark.thorough
@pytest.mark.parametrize("contents", [1, 4, 256])
@pytest.mark.parametrize("policy", ["best", "sharpest", "most-credited"])
def test_a_choice_in_parts_is_the_choice(
    root: Path, policy: PolicyName, contents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "_CONTENTS", contents)
    engine = InParts()
    plan = planned(root, CleanOptions(keep=policy), engine)
    assert plan == planned(root, CleanOptions(keep=policy))
    assert len(engine.whole) == 6
    assert len(engine.parts) == {1: 6, 4: 4, 256: 1}[contents]
    sent = [picture.path for part in engine.parts for picture in part.pictures]
    assert len(sent) == len(set(sent))
    assert not any("alone" in path for path in sent), "what has no copy is not sent"


can_fork = pytest.mark.skipif(sys.platform != "linux" or processors() < 2, reason="there is nothing to fork for")


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Choice], list[Cluster]]], None]:
    """Call it with what chooses for a part, in a forked process alone: also beside threads that other tests left."""
    monkeypatch.setattr("curate.forked._may_fork", lambda: True)
    monkeypatch.setattr("curate.forked._WORTH_FORKING", 2)
    here = os.getpid()

    def with_choice(choose: Callable[[Choice], list[Cluster]]) -> None:
        def elsewhere(part: Choice) -> list[Cluster]:
            assert os.getpid() != here
            return choose(part)

        monkeypatch.setattr(Choice, "keepers", elsewhere)

    return with_choice


@pytest.mark.thorough
@can_fork
def test_forked_processes_choose_as_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forking: Callable[..., None]
) -> None:
    """And what each has learnt of its pictures is known here: why they leave is said without reading them again."""
    for seed in range(9):
        picture = scene(seed, 320, 240)
        save(picture, tmp_path / "raw" / "rose" / f"{seed} whole.jpg", quality=95)
        save(picture.crop((16, 12, 304, 228)), tmp_path / "raw" / "rose" / f"{seed} part.jpg")
    monkeypatch.setattr(choosing, "_CONTENTS", 2)
    whole = planned(tmp_path, CleanOptions(), InParts())
    forking(Choice.keepers)
    found = planned(tmp_path, CleanOptions())
    assert found == whole
    assert len(found.decisions) == 9


@can_fork
def test_a_killed_process_is_a_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch, forking: Callable[..., None]
) -> None:
    monkeypatch.setattr(choosing, "_CONTENTS", 1)
    forking(lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="ended with exit code -9"):
        planned(root, CleanOptions())


def test_what_a_part_has_read_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver of a cluster would else read each copy once more, to say why it leaves."""

    class Sent(LocalCopies):
        def keepers(self, choice: Choice) -> list[Cluster]:
            parts = [(part, part.keepers()) for part in choice.parts()]
            monkeypatch.setattr(keepers, "read_file", unreadable)
            return choice.joined(iter(parts))

    def unreadable(path: Path) -> bytes:
        raise AssertionError(f"{path} is read again")

    assert len(planned(root, CleanOptions(), Sent()).decisions) == 11


def test_nothing_double_makes_no_part(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "raw" / "rose" / "1.jpg")
    engine = InParts()
    assert planned(tmp_path, CleanOptions(), engine).decisions == []
    assert engine.parts == []
