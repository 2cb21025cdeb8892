"""What options are where nobody says otherwise, how far some may go and which words some may be: one place for Python
and for flags. The options of training are in `train/options.py`.

The commands show these values in their help, so nothing heavy is imported here.
"""

from pathlib import Path
from typing import Final, Literal

from curate.errors import UserError

DEFAULT_SEED: Final = 1337

MOST_SEED: Final = (1 << 63) - 1
"""With 0 as the least, a seed that every generator of random numbers takes, and every file that keeps it."""

DEFAULT_RADIUS: Final = 8
"""Bits out of 64. Among 1.3 million pairs of real photographs of different scenes one lies within 8 bits and three
within 10, while 99.9% of edited copies lie within 8; benchmarks/README.md has the table.
"""

MAX_RADIUS: Final = 12
"""Bits that two hashes may differ in at most, for a search to look for them."""


def require_radius(radius: int) -> None:
    """Raise `UserError` for a radius that no search has."""
    if not (0 <= radius <= MAX_RADIUS and radius == int(radius)):
        raise UserError(f"The radius {radius} cannot be used: give a whole number of bits from 0 to {MAX_RADIUS}.")


DEFAULT_MIN_SIZE: Final = 224
"""Pixels of the shorter side of a scraped picture: a smaller one would have to be blown up for the network."""

DEFAULT_LIMIT: Final = 100
"""Pictures of each class that a scrape brings."""

SHARE_OF_ONE_AUTHOR: Final = 0.2
LEAST_OF_ONE_AUTHOR: Final = 5
"""Pictures of a class that one author gives while there are others': this share of the limit, at least so many."""

DEFAULT_DATA: Final = Path("flower_data")
DEFAULT_MODELS: Final = Path("models")
DEFAULT_RUNS: Final = Path("runs")

DEFAULT_REPORT: Final = Path("report.html")

DEFAULT_RECIPE: Final = "last-layer"

DEFAULT_DEVICE: Final = "auto"

EngineName = Literal["local", "ray"]
"""Where pictures are read and features computed: in processes of this machine, or on Ray."""

DEFAULT_ENGINE: Final = "local"


def parse_engine(text: str) -> tuple[EngineName, str | None]:
    """The engine that `local`, `ray` or `ray:ADDRESS` names, and the address, HOST:PORT or "auto"; None for none.

    Raises `UserError` for anything else.
    """
    name, colon, address = text.partition(":")
    if name == "local" and not colon:
        return "local", None
    if name == "ray" and not colon:
        return "ray", None
    host, _, port = address.rpartition(":")
    if name == "ray" and (address == "auto" or (host and "/" not in host and port.isdecimal())):
        return "ray", address
    raise UserError(f"No engine is called {text!r}: give local, ray, ray:HOST:PORT, or ray:auto.")


PolicyName = Literal["best", "largest", "sharpest", "first-seen", "most-credited"]
"""Which of several copies stays."""

DEFAULT_POLICY: Final = "best"

ConflictMode = Literal["quarantine", "keep-best", "report"]
"""What becomes of one picture under two labels: all copies leave, because nobody knows which label is right; or all but
the one that the policy puts first; or none, and a person decides.
"""

DEFAULT_CONFLICTS: Final = "quarantine"

CopyKind = Literal["exact", "copy"]
"""What counts as a copy: the same bytes alone, or also what was made from the same picture."""

DEFAULT_ONLY: Final = "copy"

DEFAULT_RATIO: Final = (0.8, 0.1, 0.1)
"""Shares of train, valid and test."""

DEFAULT_MIN_PER_CLASS: Final = 1

Method = Literal["stable", "split-folders"]
"""How a split is drawn."""

DEFAULT_METHOD: Final = "stable"

Bind = Literal["copies", "near"]
"""What a split keeps together: copies alone, or near pictures too, such as frames, bursts and one form filled in."""

DEFAULT_BIND: Final = "near"

Mode = Literal["link", "copy", "symlink"]
"""How a picture is placed in its split."""

DEFAULT_MODE: Final = "link"

Format = Literal["imagefolder", "webdataset", "parquet"]
"""What a dataset is exported as."""

DEFAULT_FORMAT: Final = "imagefolder"

OfficialSplit = Literal["official", "udacity"]
"""Two published splits of Oxford-102."""

DEFAULT_OFFICIAL: Final = "official"

DEFAULT_SOURCES: Final = ("auto",)
DEFAULT_LICENSES: Final = "open"

DEFAULT_COUNT: Final = 24
"""Pictures, or lines of a plan, on a contact sheet."""

DEFAULT_SHOWN_VIEWS: Final = 1
DEFAULT_SHOWN_SEED: Final = 0

DEFAULT_TOP_K: Final = 5
DEFAULT_ASKED_VIEWS: Final = 1
"""Views of a picture that an answer is the mean of, where neither the checkpoint nor anybody says otherwise."""

DEFAULT_FOLDS: Final = 5

DEFAULT_WEIGHTS: Final = "default"
"""The weights that a network's library recommends, or a package brings along."""

DEFAULT_AUDIT_AT: Final = 0.8
"""The chance from which on `audit` puts a picture into its plan, for a person to look at."""

SUSPECT: Final = 0.5
"""The chance from which on a picture counts as a suspect of its class, source or query."""

ONE_CLASS: Final = 0.25
"""The share of two classes' pictures that a network takes for the other, from which on they are one class to it."""

DEFAULT_ABLATION_SEEDS: Final = 5
"""Heads that are fitted for each set of pictures that an ablation compares."""

MOST_ABLATION_SEEDS: Final = 100

MOST_PORT: Final = 65_535
"""The greatest number of a port."""

DEFAULT_CARD_LICENSE: Final = "other"

DEFAULT_HOST: Final = "127.0.0.1"
"""Where pages are served: at this machine's own address, which no other reaches."""

DEFAULT_MOST_UPLOAD: Final = 32
DEFAULT_MOST_PICTURES: Final = 16
DEFAULT_MOST_WAITING: Final = 64
"""Of `serve`: megabytes and pictures of one request, and pictures of all that are under way."""
