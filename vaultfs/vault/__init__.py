"""The filesystem itself: plain, synchronous Python over a store; no FUSE, no terminal."""
