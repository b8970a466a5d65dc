"""vaultfs: a password-protected, encrypted backup store mounted as a plain directory."""

__version__ = "0.1.0"
