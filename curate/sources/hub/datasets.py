"""What the hub says of a dataset: whose it is, its licence, and the Parquet files that it has made of it.

The hub converts every dataset that it can read to Parquet, on a branch of its own, `refs/convert/parquet`, as
`<config>/<split>/0000.parquet`; of a large one the first 5 GB, below `partial-<split>`.
https://huggingface.co/docs/dataset-viewer/parquet
"""

from collections.abc import Mapping
from dataclasses import dataclass

from curate.sources.protocol.licenses import UNKNOWN, License, read_license
from curate.web.answers import JsonValue, SourceFailed, SourceRefused
from curate.web.api import Api

_CONVERTED = "refs%2Fconvert%2Fparquet"
_PARTIAL = "partial-"
_FIRST = "train"


@dataclass(frozen=True)
class HubDataset:
    """A dataset's name on the hub, its owner, title, licence, and the licence in the card's own words."""

    name: str
    owner: str
    title: str
    license: License
    license_words: str


@dataclass(frozen=True)
class Conversion:
    """The Parquet files of some splits: their paths, in order, at a revision of the branch that holds them.

    `said` tells which splits these are; with `partial`, they hold only the beginning.
    """

    revision: str
    paths: tuple[str, ...]
    said: str
    partial: bool


async def describe_dataset(api: Api, dataset: str, headers: Mapping[str, str]) -> HubDataset:
    """What the hub and the dataset's card say of it. Raises SourceFailed where there is none that may be read."""
    try:
        answer = await api.get(f"/api/datasets/{dataset}", {}, headers)
    except SourceRefused as refused:
        raise no_access(api.source, dataset, refused.reason) from refused
    name = answer.text("id")
    card = answer.at("cardData") if isinstance(answer.value_of("cardData"), dict) else None
    words = _license_words(answer, card)
    title = card.value_of("pretty_name") if card is not None else None
    return HubDataset(
        name,
        answer.optional_text("author") or name.partition("/")[0] * ("/" in name),
        title if isinstance(title, str) and title else name,
        read_license(words[0]) if len(words) == 1 else UNKNOWN,
        ", ".join(words),
    )


def no_access(source: str, dataset: str, reason: str) -> SourceFailed:
    """The failure for a dataset that the hub keeps from the caller, or does not have: it answers both alike."""
    return SourceFailed(
        source,
        f"there is no dataset '{dataset}' that is open to you ({reason}); check the name or, if it is gated, accept "
        f"its terms on https://huggingface.co/datasets/{dataset} and set HF_TOKEN to a token of yours",
    )


def _license_words(answer: JsonValue, card: JsonValue | None) -> list[str]:
    """The licences as the card names them: one, several or none; `other` with the name that it gives."""
    stated = card.value_of("license") if card is not None else None
    if stated is None and answer.has("tags"):
        tags = [tag.value for tag in answer.items("tags") if isinstance(tag.value, str)]
        stated = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
    listed = stated if isinstance(stated, list) else [stated]
    words = [word for word in listed if isinstance(word, str) and word]
    named = card.value_of("license_name") if card is not None else None
    return [str(named) if word == "other" and isinstance(named, str) and named else word for word in words]


async def find_files(
    api: Api, dataset: str, config: str, split: str, headers: Mapping[str, str], revision: str = ""
) -> Conversion:
    """The files of one configuration and split; "" for the only configuration, and for train or all splits.

    `revision` is the one that a search began with; "" for the newest. Raises SourceFailed where there are none, and
    where a name is needed and missing.
    """
    answer = await api.get(f"/api/datasets/{dataset}/revision/{revision or _CONVERTED}", {}, headers)
    found: dict[str, dict[str, list[str]]] = {}
    for file in answer.items("siblings"):
        path = file.text("rfilename")
        parts = path.split("/")
        if len(parts) == 3 and path.endswith(".parquet"):
            found.setdefault(parts[0], {}).setdefault(parts[1].removeprefix(_PARTIAL), []).append(path)
    if not found:
        raise SourceFailed(
            api.source, f"the hub holds no Parquet files of '{dataset}', which it makes of what it can read"
        )
    config = config or ("default" if "default" in found else next(iter(found)) if len(found) == 1 else "")
    if config not in found:
        raise SourceFailed(
            api.source,
            f"'{dataset}' has the configurations {', '.join(found)}: name one, as in hf:{dataset}:{min(found)}",
        )
    splits = found[config]
    split = split or (_FIRST if _FIRST in splits else "")
    if split and split not in splits:
        raise SourceFailed(
            api.source, f"'{dataset}' has no split '{split}' in '{config}': name one of {', '.join(splits)}"
        )
    paths = tuple(sorted(splits[split] if split else [path for part in splits.values() for path in part]))
    others = [name for name in splits if split and name != split]
    said = f"{config}/{split or 'all splits'}" + (f" (and not {', '.join(others)})" if others else "")
    return Conversion(answer.text("sha"), paths, said, any(path.split("/")[1].startswith(_PARTIAL) for path in paths))
