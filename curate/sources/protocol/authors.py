"""Who made a picture, as services write it: a name, or words that say that there is none."""

import re

_NO_NAME = re.compile(
    r"(?:unknown(?: author| photographer)?|author unknown|anonymous|not (?:stated|given|known)|n/?a|none|\W*"
    r"|.*(?:lacking|without|no machine.readable) (?:author|source).*|see (?:below|source|description).*)$",
    re.IGNORECASE | re.DOTALL,
)
_ASSUMED = re.compile(r"no machine.readable author provided\.\s*(.+?) assumed\b", re.IGNORECASE)


def stated_author(text: str) -> str:
    """The name that the text gives; "" where it says that nobody is known.

    Commons writes "No machine-readable author provided. Anna assumed (based on copyright claims)." for Anna.
    """
    words = " ".join(text.split())
    assumed = _ASSUMED.search(words)
    if assumed is not None:
        return re.sub(r"~commonswiki$", "", assumed[1])
    return "" if _NO_NAME.match(words) else words
