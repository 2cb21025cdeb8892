"""Which column of a dataset holds the pictures, and which one says what they show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Features = Mapping[str, object]
"""Column → what it holds, as the `datasets` library writes it: `{"_type": "ClassLabel", "names": ["rose"]}`."""

_LABEL_NAMES = ("label", "labels", "class", "category", "species", "name", "target")
_URL_NAMES = ("image_url", "url", "image", "image_urls", "photo_url", "img_url")


class NoColumn(ValueError):
    """A dataset without the column that is needed; its text says what it has."""


@dataclass(frozen=True)
class Columns:
    """The columns of pictures and of labels.

    With `by_url`, the pictures' column holds their URLs, else their bytes. `names` are the labels' by their numbers;
    None where the column holds the names themselves. `other_labels` might have been meant too.
    """

    pictures: str
    by_url: bool
    labels: str
    names: tuple[str, ...] | None
    other_labels: tuple[str, ...]


def choose_columns(
    features: Features, named: str, is_wanted: Callable[[str], bool], look: Callable[[str], Iterable[str]]
) -> Columns:
    """The columns to read; `named` is the labels' if the user says so, else "".

    Of several the one counts in which most labels are wanted, and of these one that is called like a label. `look`
    gives the first values of a column of texts. Raises NoColumn.
    """
    pictures, by_url = _pictures(features, look)
    numbered = {name: tuple(map(str, names)) for name in features if (names := _class_names(features[name]))}
    texts = [
        name for name in features if _holds(features[name], "Value", ("string", "large_string")) and name != pictures
    ]
    if named and named not in numbered and named not in texts:
        raise NoColumn(f"no column '{named}' of labels, but {_listed([*numbered, *texts])}")
    choices: Sequence[str] = [named] if named else list(numbered) or texts
    if not choices:
        raise NoColumn(f"no column of labels with names; it has {_listed(list(features))}")

    def worth(name: str) -> tuple[int, bool]:
        labels = set(numbered[name] if name in numbered else look(name))
        return sum(map(is_wanted, labels)), name.lower() in _LABEL_NAMES

    chosen = max(choices, key=worth)
    others = tuple(name for name in choices if name != chosen)
    return Columns(pictures, by_url, chosen, numbered.get(chosen), others)


def _pictures(features: Features, look: Callable[[str], Iterable[str]]) -> tuple[str, bool]:
    """The column of pictures, and whether it holds URLs."""
    held = [name for name in features if _holds(features[name], "Image")]
    if held:
        return held[0], False
    known = {name.lower(): name for name in features if _holds(features[name], "Value", ("string", "large_string"))}
    for name in (*(known[name] for name in _URL_NAMES if name in known), *known.values()):
        first = next((value for value in look(name) if value), "")
        if first.startswith(("http://", "https://")):
            return name, True
    raise NoColumn(f"no column of pictures; it has {_listed(list(features))}")


def _class_names(feature: object) -> list[object]:
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return names if isinstance(names, list) else []


def _holds(feature: object, kind: str, dtypes: Sequence[str] = ()) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == kind and (not dtypes or feature.get("dtype") in dtypes)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"
