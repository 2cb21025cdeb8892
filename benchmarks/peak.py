"""The largest resident memory of this process, and a way to begin the count anew."""

import resource
import sys
from pathlib import Path


def peak_rss() -> int:
    """Tell the largest resident memory of this process so far, in bytes.

    From /proc where there is one: `getrusage` of a fresh process starts at what its parent held (man 2 getrusage
    does not say so; the kernel carries `signal->maxrss` over an exec), so a test that starts it would be measured.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak_rss() -> int:
    """Begin the count anew at what is held now (Linux: man 5 proc, clear_refs); the peak from here on, in bytes.

    Without /proc nothing is forgotten, and what is held above the old peak is all that can be seen.
    """
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return peak_rss()
