"""The command line: `mdk`, or `python -m mdk`."""

from .app import main

__all__ = ["main"]
