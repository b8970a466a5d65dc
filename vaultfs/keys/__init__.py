"""From a password to the keys of a vault: key slots, the key hierarchy and the vault header."""
