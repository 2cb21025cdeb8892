"""JSON from a service, read field by field: a shape that has changed is reported by the service's name."""

from collections.abc import Iterator
from typing import Any


class SourceFailed(Exception):
    """A source that cannot go on: `source` is its name, the text says why. Others may well go on."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class SourceChanged(SourceFailed):
    """The service's answer no longer has the shape that its source reads."""


class SourceLimited(SourceFailed):
    """The service has set a limit that this run cannot wait for; a later run may go on."""


class SourceRefused(SourceFailed):
    """The service refuses the caller: a key or token that it does not take, or none."""


class JsonValue:
    """One JSON value of a service's answer, with the path that led to it.

    Required parts raise SourceChanged where they are missing or of another type; `optional_*` ones are
    empty then only where the key is missing or null.
    """

    def __init__(self, source: str, value: object, where: str = "the answer") -> None:
        self.source = source
        self.value = value
        self.where = where

    def has(self, key: str) -> bool:
        """Whether the object has this key with a value that is not null."""
        return self._fields().get(key) is not None

    def at(self, key: str) -> "JsonValue":
        """The value under a required key."""
        fields = self._fields()
        if fields.get(key) is None:
            raise self.changed(f"'{key}' is missing from {self.where}")
        return JsonValue(self.source, fields[key], f"{self.where} → {key}")

    def items(self, key: str) -> Iterator["JsonValue"]:
        """The members of a required list."""
        part = self.at(key)
        if not isinstance(part.value, list):
            raise self.changed(f"{part.where} is no list")
        for index, member in enumerate(part.value):
            yield JsonValue(self.source, member, f"{part.where}[{index}]")

    def text(self, key: str) -> str:
        """A required string; a number counts as one (ids come as either)."""
        part = self.at(key)
        if isinstance(part.value, bool) or not isinstance(part.value, (str, int)):
            raise self.changed(f"{part.where} is no text")
        return str(part.value)

    def optional_text(self, key: str) -> str:
        """A string, or "" where there is none."""
        return self.text(key) if self.has(key) else ""

    def number(self, key: str) -> int:
        """A required whole number; digits in a string count as one."""
        part = self.at(key)
        if isinstance(part.value, bool):
            raise self.changed(f"{part.where} is no number")
        if isinstance(part.value, int):
            return part.value
        if isinstance(part.value, str) and part.value.isascii() and part.value.isdigit():
            return int(part.value[:18])
        raise self.changed(f"{part.where} is no number")

    def optional_number(self, key: str) -> int | None:
        """A whole number, or None where there is none."""
        return self.number(key) if self.has(key) else None

    def value_of(self, key: str) -> object:
        """Whatever stands under a key, of any type; None where there is none."""
        return self._fields().get(key)

    def changed(self, what: str) -> SourceChanged:
        """The exception for a shape that is not the one this source was written for."""
        return SourceChanged(self.source, f"its answer has changed shape: {what}")

    def _fields(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.changed(f"{self.where} is no object")
        return self.value
