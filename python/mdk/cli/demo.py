"""`mdk demo`."""

import click

from mdk import demo as play


@click.command()
def demo() -> int:
    """Two accounts, one group, no network; in a temporary directory."""
    play.main()
    return 0
