"""Opaque objects: read, write, sync, list and lock them; what they mean is nobody's business here."""
