"""The on-disk format: FORMAT.md in words, constants and size arithmetic in code."""
