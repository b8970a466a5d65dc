"""Ciphers, key wrapping, key derivation, hashes and randomness: the only place that imports crypto libraries."""
