"""A JSON file that tells whether it, and files written with it, are still as this program wrote them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from curate.files.ours import require_ours
from curate.files.reading import read_file, sha256_of

_SIGNATURE: Final = "florilegium_sha256"  # over the same JSON without this line
_BESIDE: Final = "files_sha256"
_LARGEST: Final = 1 << 28  # bytes

Digests = Mapping[str, Sequence[str]]
"""By a file's name, what its SHA-256 may be: while it is replaced, that of the old content and that of the new."""


def signed_json(content: Mapping[str, Any], beside: Digests) -> str:
    """`content` as JSON, with the digests of the files that belong to it, and with its own."""
    whole = {**content, _BESIDE: {name: sorted(set(digests)) for name, digests in beside.items()}}
    return _text({**whole, _SIGNATURE: _digest(whole)})


def recorded_beside(file: Path) -> Digests | None:
    """The digests in a JSON that is as `signed_json` made it; None where it is not, or is not there."""
    try:
        data = read_file(file, _LARGEST)
        found = json.loads(data)
        signature = found.pop(_SIGNATURE)
        if signature != _digest(found) or data != _text({**found, _SIGNATURE: signature}).encode():
            return None
        return {str(name): [str(digest) for digest in digests] for name, digests in found[_BESIDE].items()}
    except (OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError):
        return None


def require_ours_together(record: Path, files: Iterable[Path], *, force: bool = False) -> Digests:
    """Raise UserError where the record, or a file that would be written with it, is there and is not ours.

    `force` lets both go. What is there, by its name, is returned: the digest that it has.
    """
    recorded = recorded_beside(record)
    if recorded is None:
        require_ours(record, known=None, force=force)
    there: dict[str, list[str]] = {}
    for file in files:
        digest = sha256_of(file) if file.is_file() else None
        known = digest if digest in (recorded or {}).get(file.name, ()) else None
        require_ours(file, known=known, force=force)
        there[file.name] = [] if digest is None else [digest]
    return there


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(content).encode()).hexdigest()
