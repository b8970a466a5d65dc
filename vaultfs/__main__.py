"""Lets `python -m vaultfs` stand for the command."""

import sys

from vaultfs.cli.main import main

sys.exit(main())
