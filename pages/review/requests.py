"""What a browser sends, taken apart: nothing of it is believed, and what is wrong is said in one sentence."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.datastructures import QueryParams
from starlette.requests import Request

from curate.decisions import ACTIONS
from curate.errors import UserError, why_no_value
from pages.review.deciding import ACCEPT, Ask
from pages.review.desk import MOST_ITEMS
from pages.review.listing import SORTS, STATES, Wanted

MOST_BYTES: Final = 8 << 20
"""Of a request: 50,000 identifiers with the decisions that were shown take 3 MB."""

_MOST_IDS: Final = 100_000
_MOST_TEXT: Final = 1000
_MOST_NAME: Final = 100
_MOST_NUMBER: Final = 1 << 53
_ID: Final = re.compile(r"[0-9a-f]{16}")
_FRACTION: Final = re.compile(r"[0-9]?\.[0-9]{1,20}|[0-9]\.?")


class BadRequest(UserError):
    """A request that our own page does not send; `status` is that of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def json_of(request: Request) -> Mapping[str, Any]:
    """The JSON object that a request holds."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("The request has to be of the type application/json.", 415)
    body = await request.body()
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The request is not JSON ({why_no_value(error)}).") from error
    if not isinstance(found, dict):
        raise BadRequest("The request has to be a JSON object.")
    return found


def asked(values: Mapping[str, Any]) -> Ask:
    """What is to be decided."""
    ids = values.get("ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= _MOST_IDS or not all(_is_id(one) for one in ids):
        raise BadRequest('"ids" has to be a list of the identifiers of pictures.')
    action = text(values, "action")
    if action not in (*ACTIONS, ACCEPT):
        raise BadRequest(f'"action" has to be one of {", ".join((*ACTIONS, ACCEPT))}.')
    seen = values.get("seen", {})
    if not isinstance(seen, dict) or not all(_is_id(one) and _is_count(batch) for one, batch in seen.items()):
        raise BadRequest('"seen" has to give for each identifier the batch that was shown.')
    return Ask(ids, action, text(values, "reason"), text(values, "label"), seen, text(values, "queue"))


def text(values: Mapping[str, Any], name: str) -> str:
    """A text of a JSON object; "" where there is none."""
    found = values.get(name, "")
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > _MOST_TEXT or not _is_unicode(found):
        raise BadRequest(f'"{name}" has to be a text of at most {_MOST_TEXT:,} characters.')
    return found


def count(values: Mapping[str, Any], name: str) -> int:
    """A number from 0 of a JSON object."""
    found = values.get(name)
    if not _is_count(found):
        raise BadRequest(f'"{name}" has to be a whole number from 0.')
    return int(found)  # type: ignore[arg-type]


def wanted(query: QueryParams) -> Wanted:
    """The filters and the order in an address."""
    state, sort = query.get("state") or "any", query.get("sort", "")
    if state not in STATES:
        raise BadRequest(f'"state" has to be one of {", ".join(STATES)}.')
    if sort and sort not in SORTS:
        raise BadRequest(f'"sort" has to be one of {", ".join(SORTS)}.')
    return Wanted(
        label=query.get("class") or None,
        split=query.get("split") or None,
        reason=query.get("reason", ""),
        source=query.get("source", ""),
        licence=query.get("licence", ""),
        least=fraction(query, "score_min"),
        most=fraction(query, "score_max"),
        state=state,
        text=query.get("text", "")[:_MOST_TEXT].casefold(),
        sort=sort,
        descending=query.get("descending", "0") == "1",
    )


def number(query: QueryParams, name: str, default: int, most: int = _MOST_NUMBER) -> int:
    """A number from 0 in an address."""
    found = query.get(name, str(default))
    if not (found.isascii() and found.isdigit() and len(found) <= len(str(_MOST_NUMBER))) or int(found) > most:
        raise BadRequest(f'"{name}" has to be a whole number from 0 to {most}.')
    return int(found)


def fraction(query: QueryParams, name: str) -> float | None:
    """A number from 0 to 1 in an address; None where there is none, or an empty one."""
    found = query.get(name, "")
    if not found:
        return None
    if not _FRACTION.fullmatch(found) or float(found) > 1:
        raise BadRequest(f'"{name}" has to be a number from 0 to 1, as 0.9.')
    return float(found)


def who_decides(name: str) -> str:
    """A person's name as it goes on record. Raises `UserError` for one that is none."""
    name = name.strip()
    if not 0 < len(name) <= _MOST_NAME or not _is_unicode(name):
        raise UserError(f"A name has 1 to {_MOST_NAME} characters: give another with --as.")
    return name


def identifiers(query: QueryParams) -> list[str]:
    """The identifiers in an address, with commas between."""
    found = [one for one in query.get("ids", "").split(",") if one]
    if len(found) > MOST_ITEMS or not all(_is_id(one) for one in found):
        raise BadRequest(f'"ids" has to be at most {MOST_ITEMS} identifiers of pictures.')
    return found


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST_NUMBER


def _is_unicode(value: str) -> bool:
    """JSON can spell half of a surrogate pair, and UTF-8 cannot."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
