"""The parts of `scripts/golden`."""
