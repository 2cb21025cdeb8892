"""A number and what it counts, in the singular or the plural."""


def with_noun(count: int, noun: str, nouns: str = "") -> str:
    """The count with its noun, as "1 picture" and "1,200 pictures"; `nouns` is a plural that takes more than an s."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
