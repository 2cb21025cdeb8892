"""Two commands at once on one dataset, with and without a SIGKILL before: what is lost, double, misplaced or wrong.

    uv run benchmarks/together.py                         # every pair of commands, 20 rounds each
    uv run benchmarks/together.py --on /mnt/exfat --files 400 --rounds 3

Each round is a fresh copy of a dataset that has work for every command: pictures to be cleaned, pictures in the
quarantine, pictures that no split has yet. Both commands are processes of their own and start at one instant; half of
the rounds begin with a process of either command that is killed with SIGKILL at a random instant. Then every file is
read, and held against what there was.
"""

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from commands.console import say, table

REPOSITORY = Path(__file__).resolve().parent.parent
SPLITS = ("train", "valid", "test")
LABELS = 10
SIDE = 48  # pixels: small pictures, so that the moves and not the reading take the time
LONGEST = 300.0  # seconds in which a command must end
LONGEST_AT_THE_START = 1800.0  # that makes the dataset: each picture goes through a network

CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = (
    "cli", "curate.clean", "curate.split", "curate.scrape", "curate.export", "curate.verify", "curate.show",
    "train.training", "train.run_folder", "scipy.fftpack", "PIL.JpegImagePlugin",
)  # fmt: skip
CONTEXT.set_forkserver_preload([*_PRELOADED, *({"pytest"} & sys.modules.keys())])


@dataclass(frozen=True)
class Place:
    """A dataset and what its commands need beside it."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def arguments(self, command: str, turn: int) -> list[str]:
        """The command line. `turn` tells two processes' outputs apart where they must not be one."""
        data, more, models = str(self.data), str(self.folder / "more"), str(self.folder / "models")
        scrape = ["--names", str(self.folder / "names.json"), "--source", f"folder:{more}", "--license", "any"]
        lines = {
            "clean": ["clean", data, "--yes"],
            "restore": ["restore", data],
            "split": ["split", data],
            "split --copy": ["split", data, "--copy"],
            "split --seed": ["split", data, "--seed", "2"],
            "scrape": ["scrape", "--out", data, *scrape, "--min-size", "1", "--limit", "100000"],
            "train": ["train", data, "--backbone", "efficientnet_lite0", "--views", "1", "--set", "epochs=2",
                      "--models", models, "--runs", str(self.folder / "runs"), "--device", "cpu"],
            "export": ["export", data, "--format", "imagefolder", "--out", str(self.folder / f"exported {turn}")],
            "verify": ["verify", data],
            "clean --dry-run": ["clean", data, "--dry-run"],
            "show": ["show", data, "--out", str(self.folder / f"sheet {turn}.png")],
        }  # fmt: skip
        return lines[command]


COMMANDS = ("clean", "restore", "split", "split --copy", "split --seed", "scrape", "train", "export", "verify",
            "clean --dry-run", "show")  # fmt: skip
WAIT = {"clean", "restore", "split", "split --copy", "split --seed", "scrape", "export"}


@dataclass
class Tally:
    """What was seen in the rounds of one pair; all but `rounds`, `done`, `told` and `killed` should be 0."""

    rounds: int = 0
    done: int = 0
    told: int = 0
    killed: int = 0
    lost: int = 0
    double: int = 0
    parted: int = 0
    wrong: int = 0
    left: int = 0
    odd: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, found: "Found") -> None:
        for name in ("lost", "double", "parted", "wrong", "left"):
            paths = getattr(found, name)
            setattr(self, name, getattr(self, name) + len(paths))
            self.examples += [f"{name}: {path}" for path in paths[:3]]


@dataclass(frozen=True)
class Found:
    """What is amiss on the disk: contents that are nowhere, or twice, or in two splits; files with other bytes than
    their name says; files under temporary names.
    """

    lost: list[str]
    double: list[str]
    parted: list[str]
    wrong: list[str]
    left: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=20, help="of each pair, without and with a kill before")
    parser.add_argument("--on", type=Path, help="a folder on the file system to try; the temporary one by default")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="only pairs of these")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many, with the pairs done by then")
    parser.add_argument("--seed", type=int, default=1337)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.on) as folder:
        start = make_start(Path(folder) / "start", arguments.files)
        commands = arguments.commands.split(",")
        measure(start, commands, arguments.rounds, arguments.minutes, random.Random(arguments.seed))


def measure(start: Place, commands: Sequence[str], rounds: int, minutes: float, draw: random.Random) -> None:
    """Rounds of all pairs in turn, so that whenever it ends each pair has had about as many."""
    pairs = list(itertools.combinations_with_replacement(commands, 2))
    tallies = {(pair, kill): Tally() for pair in pairs for kill in (False, True)}
    known = contents_of(start)
    deadline = time.monotonic() + 60 * minutes
    try:
        for _ in range(rounds):
            for pair, kill in tallies:
                if time.monotonic() < deadline:
                    play(start, known, pair, tallies[pair, kill], draw, kill=kill)
    finally:  # Ctrl-C ends it early: what was played until then counts
        report(tallies)


def report(tallies: dict[tuple[tuple[str, str], bool], Tally]) -> None:
    columns = ("command", "beside", "kill", "rounds", "killed", "both done", "one told", "lost", "double", "parted",
               "wrong bytes", "left over", "odd")  # fmt: skip
    tried = {key: tally for key, tally in tallies.items() if tally.rounds}
    rows = [
        (*pair, "yes" if kill else "no", tally.rounds, tally.killed, tally.done, tally.told, tally.lost, tally.double,
         tally.parted, tally.wrong, tally.left, tally.odd)
        for (pair, kill), tally in tried.items()
    ]  # fmt: skip
    sums = [sum(int(row[column]) for row in rows) for column in range(3, len(columns))]
    table("Two commands at once", columns, [*rows, ("all", "", "", *sums)], last_is_total=True)
    for key, tally in tried.items():
        for example in tally.examples[:5]:
            say(f"{' beside '.join(key[0])}: {example}")


def play(start: Place, known: "Known", pair: tuple[str, str], tally: Tally, draw: random.Random, *, kill: bool) -> None:
    """One round: maybe a killed process, then both, then a look at every file."""
    with tempfile.TemporaryDirectory(dir=start.folder.parent) as folder:
        place = copy_of(start, Path(folder) / "round")
        if kill:
            tally.killed += killed(place, draw.choice(pair), draw.uniform(0.0, 1.0))
        wait = draw.random() < 0.5
        both = [
            begin(place, place.arguments(command, turn) + (["--wait"] if wait and command in WAIT else []), turn)
            for turn, command in enumerate(pair)
        ]
        ends = [end_of(process, place.folder / f"log {turn}") for turn, process in enumerate(both)]
        tally.done += all(end.done for end in ends)
        tally.told += any(end.told for end in ends)
        tally.odd += sum(not (end.done or end.told) for end in ends)
        tally.examples += [end.said[-300:] for end in ends if not (end.done or end.told)]
        tally.add(look(place, known))
        tally.rounds += 1


@dataclass(frozen=True)
class End:
    """How a command ended: it did its work, or said in one sentence why not. Anything else is odd."""

    done: bool
    told: bool
    said: str


def begin(place: Place, arguments: list[str], turn: int) -> ForkServerProcess:
    process = CONTEXT.Process(target=_command, args=(arguments, place.folder / f"log {turn}"))
    process.start()
    return process


def end_of(process: ForkServerProcess, log: Path, longest: float = LONGEST) -> End:
    process.join(longest)
    if process.is_alive():
        process.kill()
        process.join()
        return End(False, False, f"did not end in {longest:g} s")
    said = log.read_text(errors="replace")
    traceback, usage = "Traceback" in said, "Usage:" in said or not said.strip()
    done = process.exitcode in (0, 1) and not traceback
    return End(done, process.exitcode == 2 and not traceback and not usage, f"[{process.exitcode}] {said}")


def killed(place: Place, command: str, share: float) -> bool:
    """Start a command and kill it, before it ends if it takes more than about a second; whether it was killed."""
    process = begin(place, place.arguments(command, 0), 0)
    time.sleep(0.05 + share * share * 1.5)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _command(arguments: list[str], log: Path) -> None:
    """What the process does: the command line of these arguments, as `cli.py` runs it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["cli.py", *arguments]
    os.environ["COLUMNS"] = "200"
    from cli import app
    from commands import running

    running.run(app)


# -- the dataset


@dataclass(frozen=True)
class Known:
    """What lay where at the start: content → its labels, and how often it lay in raw/ and the quarantine together."""

    labels: dict[str, set[str]]
    count: Counter[str]


def make_start(folder: Path, files: int) -> Place:
    """A dataset of about so many pictures: split once, cleaned once, and then added to, so that all is to do again."""
    place = Place(folder)
    draw = np.random.default_rng(7)
    for number in range(files):
        _draw(draw, place.data / "raw" / str(number % LABELS) / f"{number:05}.jpg")
    _spoil(place, "old", files // 20)
    for command in ("clean", "split"):
        _run(place, command)
    for number in range(files // 10):
        _draw(draw, place.data / "raw" / str(number % LABELS) / f"new {number:05}.jpg")
        _draw(draw, place.folder / "more" / str(number % LABELS) / f"more {number:05}.jpg")
    _run(place, "clean --dry-run")
    _spoil(place, "new", files // 20)
    names = {str(label): [f"class {label}", f"class {label}"] for label in range(LABELS)}
    (place.folder / "names.json").write_text(json.dumps(names))
    (place.folder / "models").mkdir()
    _run(place, "train")  # for its bank: later ones find most features there
    shutil.rmtree(place.folder / "runs", ignore_errors=True)
    for file in (place.folder / "models").glob("*.pth"):
        file.unlink()
    return place


def _draw(draw: np.random.Generator, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    patches = Image.fromarray(draw.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    patches.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, quality=90)


def _spoil(place: Place, name: str, count: int) -> None:
    """Files that `clean` sets aside: no pictures, and copies of pictures."""
    originals = sorted((place.data / "raw").rglob("*.jpg"))[: count * 3 : 3]
    for number, original in enumerate(originals):
        (original.with_name(f"{name} broken {number}.jpg")).write_bytes(f"{name} {number}: no picture".encode() * 9)
        with Image.open(original) as picture:
            picture.save(original.with_name(f"{name} copy {number}.jpg"), quality=80)


def _run(place: Place, command: str) -> None:
    end = end_of(begin(place, place.arguments(command, 0), 0), place.folder / "log 0", LONGEST_AT_THE_START)
    if not end.done:
        raise RuntimeError(f"{command} ended oddly: {end.said}")


def copy_of(start: Place, folder: Path) -> Place:
    """The same again. Hard links where they can be: no command writes into a picture, and times stay as they are."""
    links = _has_links(start.folder)

    def copy(source: str, target: str) -> None:
        if links and source.endswith(".jpg"):
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    shutil.copytree(start.folder, folder, copy_function=copy)
    return Place(folder)


def _has_links(folder: Path) -> bool:
    try:
        os.link(folder / "names.json", folder / "linked")
    except OSError:
        return False
    (folder / "linked").unlink()
    return True


def contents_of(place: Place) -> Known:
    labels = defaultdict[str, set[str]](set)
    count = Counter[str]()
    for top in (place.data / "raw", place.data / "quarantine", place.folder / "more"):
        for file in top.rglob("*"):
            if file.is_file():
                content = digest(file)
                labels[content].add(file.parent.name)
                count[content] += top.name != "more"
    return Known(labels, count)


def look(place: Place, known: Known) -> Found:
    """Read every file of the dataset."""
    data = place.data
    where = defaultdict[str, list[str]](list)
    left, wrong = [], []
    for folder, _, names in os.walk(data):
        for name in names:
            file = Path(folder) / name
            path = file.relative_to(data).as_posix()
            if name.endswith((".partial", ".moving")) or ".placing.florilegium" in path:
                left.append(path)
            if path.split("/", 1)[0] not in ("raw", "quarantine", *SPLITS) or name == "metadata.csv":
                continue
            content = digest(file)
            where[content].append(path)
            if file.parent.name not in known.labels.get(content, ()):
                wrong.append(path)
    own = {content: [path for path in paths if path.split("/", 1)[0] not in SPLITS] for content, paths in where.items()}
    splits = {content: {path.split("/")[0] for path in paths} & set(SPLITS) for content, paths in where.items()}
    return Found(
        lost=[content for content, count in known.count.items() if len(own.get(content, ())) < min(count, 1)],
        double=[", ".join(paths) for content, paths in own.items() if len(_raw(paths)) > max(known.count[content], 1)],
        parted=[", ".join(where[content]) for content, there in splits.items() if len(there) > 1],
        wrong=wrong,
        left=left,
    )


def _raw(paths: list[str]) -> list[str]:
    """Without the placed copies that left together with their originals."""
    return [path for path in paths if path.startswith("raw/") or "/raw/" in path]


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
