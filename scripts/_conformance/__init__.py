"""What `scripts/conformance` is made of: fresh filesystems to test, and one module for each suite."""
