"""What options are where nobody says otherwise, and how far some of them may go: one place for Python and for flags.

The commands show these values in their help, so nothing is imported here.
"""

from pathlib import Path
from typing import Final

DEFAULT_SEED: Final = 1337

MOST_SEED: Final = (1 << 63) - 1
"""With 0 as the least, a seed that every generator of random numbers takes, and every file that keeps it."""

DEFAULT_RADIUS: Final = 8
"""Bits out of 64. Among 1.3 million pairs of real photographs of different scenes one lies within 8 bits and three
within 10, while 99.9% of edited copies lie within 8; benchmarks/README.md has the table.
"""

MAX_RADIUS: Final = 12
"""Bits that two hashes may differ in at most, for a search to look for them."""

DEFAULT_MIN_SIZE: Final = 224
"""Pixels of the shorter side of a scraped picture: a smaller one would have to be blown up for the network."""

DEFAULT_LIMIT: Final = 100
"""Pictures of each class that a scrape brings."""

DEFAULT_DATA: Final = Path("flower_data")
DEFAULT_MODELS: Final = Path("models")
DEFAULT_RUNS: Final = Path("runs")

DEFAULT_RECIPE: Final = "best"

DEFAULT_DEVICE: Final = "auto"
