"""Which split a folder is by its name: people number the splits, date them, and put the dataset's name before them."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

_TEST = ("test", "tests", "testing", "holdout", "hold[ _.-]?out", "heldout", "held[ _.-]?out")
_EVALUATION = ("eval", "evaluation")
_PREDICTION: Final = "pred"

_WORDS: Final = {
    "train": ("train", "training", "train[ _.-]?val(?:id)?"),
    "valid": ("val", "valid", "validation", "dev", *_EVALUATION),
    "test": _TEST,
    _PREDICTION: ("pred", "predict", "prediction", "predictions"),
}
_ABBREVIATIONS: Final = {"train": ("trn", "tr"), "valid": ("vld", "vl", "va"), "test": ("tst", "ts", "te")}


def _any_of(words: dict[str, tuple[str, ...]]) -> str:
    return "|".join(f"(?P<{split}>{'|'.join(sorted(spelt, key=len, reverse=True))})" for split, spelt in words.items())


_PLAIN = re.compile(_any_of(_WORDS), re.IGNORECASE)
_DRESSED = re.compile(
    rf"(?:seg[ _-]?)?(?:{_any_of(_WORDS)})"
    r"(?:[ _-]?(?:set|data|dataset|split|images?|imgs?|pictures|photos))?(?:[ _-]?\d+)?",
    re.IGNORECASE,
)


_SHORT = re.compile(_any_of(_ABBREVIATIONS), re.IGNORECASE)


def _within(words: dict[str, tuple[str, ...]]) -> re.Pattern[str]:
    """A word of a name: no letter stands beside it, or the case of the letters parts them, as in `trainA`."""
    return re.compile(
        rf"(?:(?<![^\W\d_])|(?<=[a-z])(?=[A-Z]))(?i:{_any_of(words)})(?:(?![^\W\d_])|(?<=[a-z])(?=[A-Z]))"
    )


_WORD_WITHIN, _SHORT_WITHIN = _within(_WORDS), _within(_ABBREVIATIONS)
_LETTERS = re.compile(r"[^\W\d_]+")
_SAYS_NOTHING = {"v", "ver", "version", "rev", "copy", "kopie", "final", "new", "t", "z", "of", "part", "set", "data",
                 "dataset", "split", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos",
                 "folder", "the"}  # fmt: skip

ClassNames = Callable[[str], frozenset[str]]
"""Folder → the names of the class folders in it, which hold its pictures; none, where it holds pictures itself."""


class NameReading(NamedTuple):
    """A folder's name as `before`, the word for a split, which `is_short` where it is abbreviated, and `after`, which
    begins at the place `at`.
    """

    split: str
    before: str
    after: str
    at: int
    is_short: bool = False

    @property
    def affix(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What stands before and after the word, without numbers, dates, versions and words that tell nothing."""
        return _telling(self.before), _telling(self.after)


def split_named(name: str) -> str | None:
    """The split that a folder's name says, in any case and dress: `seg_train`, `Testing`, `val2017`; None for none."""
    found = _DRESSED.fullmatch(name)
    split = found.lastgroup if found else None
    return None if split == _PREDICTION else split


def split_said(word: str) -> str | None:
    """The split that a word in a table says, which may be abbreviated; None for none."""
    found = _SHORT.fullmatch(word.strip())
    return found.lastgroup if found else split_named(word.strip())


def readings(name: str, *, short: bool = True) -> list[NameReading]:
    """Each way to read a name as a split's, in a longer one or abbreviated: `flowers-train`, `train (1)`, `trn`."""
    whole = list(_WORD_WITHIN.finditer(name))
    return [
        NameReading(word.lastgroup, name[: word.start()], name[word.end() :], word.end(), not whole)
        for word in whole or (_SHORT_WITHIN.finditer(name) if short else ())
        if word.lastgroup not in (None, _PREDICTION)
    ]  # fmt: skip


def splits_by_own_name(names: Sequence[str]) -> dict[str, str]:
    """Folder → the split that its name says by itself.

    A name in a dress ("test1", "dev_set") is believed beside a folder of training pictures, or where no other folder
    is there: it may be a class.
    """
    dressed = {name: found for name in names if (found := _DRESSED.fullmatch(name))}
    whole = any(found.lastgroup == "train" for found in dressed.values()) or len(dressed) == len(names)
    words = {name: found for name, found in dressed.items() if whole or _PLAIN.fullmatch(name)}
    splits = {name: str(found.lastgroup) for name, found in words.items()}
    evaluation = {name for name, found in words.items() if found["valid"] and found["valid"].lower() in _EVALUATION}
    if "test" not in splits.values() and "valid" in {splits[name] for name in splits.keys() - evaluation}:
        splits |= dict.fromkeys(evaluation, "test")  # as in Food-11: training, validation, evaluation
    whole_train = {name for name, found in words.items() if _is_train_and_valid(found)}
    if "train" in {splits[name] for name in splits.keys() - whole_train}:  # train and valid once more
        splits |= dict.fromkeys(whole_train, _PREDICTION)
    return {name: split for name, split in splits.items() if split != _PREDICTION}


def splits_of_siblings(names: Sequence[str], classes_in: ClassNames | None = None) -> dict[str, str]:
    """Folder → the split that its name says by itself, or beside the other folders.

    Names with one affix say splits together, as `flowers-train` and `flowers-test` do; so does a name of any affix
    beside a train or test that is certain. A folder that is called so may yet be a class, "steam train": the folders
    must hold class folders of the same names, which `classes_in` tells. Without it, the names are believed.
    """
    splits = splits_by_own_name(names)
    if "train" in splits.values():
        names = [name for name in names if name in splits or not _is_train_and_valid(_DRESSED.fullmatch(name))]
    groups = defaultdict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, NameReading]](dict)
    for name in names:
        for reading in readings(name) if name not in splits else ():
            groups[reading.affix].setdefault(name, reading)
    for affix, group in groups.items():
        whole = {name: reading.split for name, reading in group.items()} | (splits if affix == ((), ()) else {})
        is_short = any(reading.is_short for reading in group.values())
        others = (name for name in names if name not in whole and (classes_in is None or classes_in(name)))
        if is_short and any(others):  # "tr" and "te" may be languages among others
            continue
        if _say_splits(whole, classes_in):
            splits = whole | splits
    while classes_in is not None and (found := dict(_beside_certain_ones(names, splits, classes_in))):
        splits |= found  # a train that is certain now may bear out a test
    return splits


def _is_train_and_valid(found: re.Match[str] | None) -> bool:
    return found is not None and "val" in (found["train"] or "").lower()


def share_classes(first: frozenset[str], second: frozenset[str]) -> bool:
    """Whether the smaller of two sets of class folders has half of its names in the other."""
    one, other = ({unicodedata.normalize("NFC", name).casefold() for name in names} for names in (first, second))
    return bool(one and other) and 2 * len(one & other) >= min(len(one), len(other))


def _say_splits(group: dict[str, str], classes_in: ClassNames | None) -> bool:
    """Whether names with one affix are those of splits: a train and another, and with the same class folders."""
    if "train" not in group.values() or len(set(group.values())) < 2:
        return False
    if classes_in is None:
        return True
    trained = frozenset[str]().union(*(classes_in(name) for name, split in group.items() if split == "train"))
    others = [classes_in(name) for name, split in group.items() if split != "train"]
    return bool(trained) and all(not other or share_classes(trained, other) for other in others)


def _beside_certain_ones(
    names: Sequence[str], splits: dict[str, str], classes_in: ClassNames
) -> Iterator[tuple[str, str]]:
    """The other folders, with any affix, that are a split which is lacking, with class folders of the same names."""
    labelled = {name: split for name, split in splits.items() if classes_in(name)}
    there = set(labelled.values())
    certain = frozenset[str]().union(*map(classes_in, labelled))
    for name in names:
        for reading in readings(name, short=False) if name not in splits else ():
            wanted = reading.split not in there and "train" in {*there, reading.split}
            if wanted and share_classes(certain, classes_in(name)):
                yield name, reading.split
                break


def _telling(text: str) -> tuple[str, ...]:
    return tuple(word for word in _LETTERS.findall(text.lower()) if word not in _SAYS_NOTHING)
