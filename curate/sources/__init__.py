"""Where candidate pictures come from: one module per image search, found by its file name."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from curate.errors import UserError
from curate.sources.protocol.image_search import Source, SourceOptions
from curate.web.api import Api
from curate.web.fetch import Fetcher

_KEYS_FROM = {
    "FLICKR_API_KEY": "https://www.flickr.com/services/apps/create/",
    "PEXELS_API_KEY": "https://www.pexels.com/api/",
    "PIXABAY_API_KEY": "https://pixabay.com/api/docs/",
    "UNSPLASH_ACCESS_KEY": "https://unsplash.com/developers",
}
"""Where the services give their keys, free of charge."""


def source_names() -> list[str]:
    """The modules of this folder; the folder in it holds what all of them share."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def known_spec(spec: str) -> str:
    """What `--source` says as it is kept on record: a source's name may be written with hyphens."""
    name, colon, argument = spec.partition(":")
    return name.replace("-", "_") + colon + argument


_OWN_LISTS = ("urls", "folder")
_CHOSEN_WHOLE = (*_OWN_LISTS, "hf")


def is_own_list(spec: str) -> bool:
    """Whether a source is a list or folder of the user's own, which is read whole, and in which lines are put right."""
    return spec.partition(":")[0] in _OWN_LISTS


def counts_authors(spec: str) -> bool:
    """Whether a class takes only so many pictures of one author from a source: not where the user chose them all."""
    return spec.partition(":")[0] not in _CHOSEN_WHOLE


def source_class(spec: str) -> type[Source]:
    """The source that `--source` names: "openverse", or "urls:list.csv" with an argument. Raises UserError."""
    name = known_spec(spec).partition(":")[0]
    if name not in source_names():
        raise UserError(f"There is no source '{name}': choose auto or one of {', '.join(source_names())}.")
    return cast(type[Source], importlib.import_module(f"{__name__}.{name}").Search)


def auto_order(keys: Mapping[str, str]) -> list[str]:
    """The sources that `auto` goes through, in order, without those that lack a key."""
    ranked = []
    for name in source_names():
        search = source_class(name)
        if search.turn is not None and all(keys.get(key) for key in search.required_keys):
            ranked.append((search.turn, name))
    return [name for _, name in sorted(ranked)]


def open_source(spec: str, fetcher: Fetcher, options: SourceOptions) -> Source:
    """Make a source ready to be asked. Raises UserError where it lacks an argument or a key."""
    search = source_class(spec)
    name, _, argument = known_spec(spec).partition(":")
    for key in search.required_keys:
        if not options.keys.get(key):
            where = f", which {_KEYS_FROM[key]} gives" if key in _KEYS_FROM else ""
            raise UserError(f"The source '{name}' needs a key{where}: set the environment variable {key}.")
    return search(Api(name, search.home, fetcher), replace(options, argument=argument))
