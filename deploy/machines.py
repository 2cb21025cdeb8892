"""Whether a cluster of Ray has so many machines: `python machines.py 4` ends with 0 once it has."""

import sys

import ray


def main() -> None:
    """Read the words, and do it."""
    ray.init("auto", log_to_driver=False, logging_level="ERROR")
    alive = sum(node["Alive"] for node in ray.nodes())
    sys.exit(alive < int(sys.argv[1]))


if __name__ == "__main__":
    main()
