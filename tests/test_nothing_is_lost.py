"""Any sequence of commands, each killed at any instant, against a model that knows where each content may be."""

import hashlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from curate.catalog import Catalog
from curate.clean import clean
from curate.dataset import open_dataset, open_to_write
from curate.defaults import Mode
from curate.errors import UserError
from curate.quarantine import restore_files
from curate.split import split
from curate.splitting.unfinished import require_finished
from tests.pictures import paint, save

if sys.platform == "win32":
    pytest.skip("SIGKILL is POSIX's", allow_module_level=True)

from testing.killing import kill_at_deed

SPLITS = ("train", "valid", "test")
NEVER = 1 << 30  # an instant that no command reaches

instants = st.one_of(st.just(NEVER), st.integers(0, 40), st.integers(0, 400))
labels = st.sampled_from(["rose", "tulip"])


def give_back(root: Path) -> None:
    with open_to_write(root, "restore") as dataset, Catalog.open(dataset.catalog_path) as catalog:
        restore_files(dataset, catalog)


class Commands(RuleBasedStateMachine):
    """Each content lies at one place of its own, and in at most one split besides, under its label."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name) / "data"
        self.label: dict[str, str] = {}  # content → the class folder that it belongs to
        self.broken: set[str] = set()
        self.split_is_whole = True

    def teardown(self) -> None:
        self.folder.cleanup()

    def note(self, file: Path) -> str:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        self.label[content] = file.parent.name
        return content

    @initialize()
    def some_pictures(self) -> None:
        for number in range(8):
            label = "rose" if number % 2 else "tulip"
            self.note(save(paint(number, (64, 48)), self.root / "raw" / label / f"{number}.jpg"))

    @rule(number=st.integers(10, 60), label=labels)
    def add_a_picture(self, number: int, label: str) -> None:
        file = self.root / "raw" / label / f"{number}.jpg"
        if not file.exists():
            content = hashlib.sha256(save(paint(number, (64, 48)), file).read_bytes()).hexdigest()
            if content in self.label:  # the same picture under two labels is another test's matter
                file.unlink()
            else:
                self.note(file)

    @rule(number=st.integers(0, 20), label=labels)
    def add_what_is_no_picture(self, number: int, label: str) -> None:
        file = self.root / "raw" / label / f"broken {number}.jpg"
        text = f"no picture {label} {number}".encode()
        if hashlib.sha256(text).hexdigest() not in self.label:
            file.write_bytes(text)
            self.broken.add(self.note(file))

    @rule(number=st.integers(0, 7), quality=st.integers(60, 80))
    def add_a_copy(self, number: int, quality: int) -> None:
        label = "rose" if number % 2 else "tulip"
        file = self.root / "raw" / label / f"{number} at {quality}.jpg"
        if not file.exists():
            save(paint(number, (64, 48)), file, quality=quality)
            if hashlib.sha256(file.read_bytes()).hexdigest() in self.label:  # it lies in the quarantine
                file.unlink()
            else:
                self.note(file)

    @rule(instant=instants)
    def clean(self, instant: int) -> None:
        if not kill_at_deed(partial(clean, self.root, yes=True), instant):
            raw = {content for content, paths in self.places().items() if any(p.startswith("raw/") for p in paths)}
            assert not raw & self.broken

    @rule(instant=instants)
    def restore_files(self, instant: int) -> None:
        if not kill_at_deed(partial(give_back, self.root), instant):
            assert all(any(path.startswith("raw/") for path in paths) for paths in self.places().values())
            assert not [*(self.root / "quarantine").rglob("*")], "nor is a name left that nobody knows"

    @rule(instant=instants, seed=st.sampled_from([1, 2]), mode=st.sampled_from(["link", "copy", "symlink"]))
    def split(self, instant: int, seed: int, mode: Mode) -> None:
        marked = self.marked()
        self.split_is_whole = not kill_at_deed(partial(split, self.root, seed=seed, mode=mode), instant)
        if self.split_is_whole:
            for content, paths in self.places().items():
                if content not in self.broken and any(path.startswith("raw/") for path in paths):
                    assert len(in_split(paths)) == 1, paths
            require_finished(open_dataset(self.root))
        else:
            # It may have been killed before it touched anything, or after it had ended.
            assert self.marked() in (True, marked, False)

    def marked(self) -> bool:
        try:
            require_finished(open_dataset(self.root))
        except UserError:
            return False
        return True

    @precondition(lambda self: self.label)
    @invariant()
    def nothing_is_lost_and_nothing_double(self) -> None:
        places = self.places()
        for content, label in self.label.items():
            paths = places.get(content, [])
            own = [path for path in paths if path.startswith("raw/") or "/raw/" in path]
            assert own, f"lost: {label}"
            assert len(set(own)) == 1 or self.is_cut_short(own), f"double: {own}"
            assert all(Path(path).parent.name == label for path in paths), f"under another label: {paths}"
            assert len(in_split(paths)) <= 1, f"in two splits: {paths}"

    def is_cut_short(self, own: list[str]) -> bool:
        """A kill may leave a file under two names where the disk has no exclusive rename; a repeated call ends that."""
        first, *others = (self.root / path for path in own)
        return all(first.samefile(other) for other in others)

    def places(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self.root.rglob("*"):
            top = file.relative_to(self.root).parts[0]
            if file.is_file() and top in ("raw", "quarantine", *SPLITS):
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                assert content in self.label, f"bytes that nobody had: {file}"
                found.setdefault(content, []).append(file.relative_to(self.root).as_posix())
        return found


def in_split(paths: list[str]) -> set[str]:
    return {path.split("/", 1)[0] for path in paths} & set(SPLITS)


few: Any = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
many: Any = settings(few, max_examples=150, stateful_step_count=30)

TestCommands = Commands.TestCase
TestCommands.settings = few


TestManyCommands = pytest.mark.slow(type("TestManyCommands", (Commands.TestCase,), {"settings": many}))
"""The same for longer."""
