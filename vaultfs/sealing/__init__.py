"""Plaintext to stored bytes and back, without any I/O."""
