"""The local web and its faults, and kills at a chosen instant: for tests, benchmarks and the demo."""
