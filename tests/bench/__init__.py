"""The benchmark behind scripts/bench; no test runs it."""
