"""Verifies, repairs and salvages vaults; what is found is returned as objects."""
