"""The parts of `scripts/bench` and `scripts/microbench`: what is measured, on which filesystems, and the report."""
