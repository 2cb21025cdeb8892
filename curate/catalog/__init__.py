"""The catalog: one SQLite row per picture ever seen, and the credits, moves and assignments that belong to them.

The pictures lie in plain folders and are what counts: all of the catalog but the credits can be found out again by
reading them. It is written in WAL mode, so a process killed at any instant leaves a whole catalog.

All SQL on it is in this package, one file for each subject. `Catalog` is the open file and the table of pictures; the
functions of the other files take it, and belong inside its `transaction` where they say so.
"""

from curate.catalog.pictures import Catalog, Picture, Seen
from curate.catalog.schema import SCHEMA_VERSION

__all__ = ["SCHEMA_VERSION", "Catalog", "Picture", "Seen"]
