"""`mdk demo`."""

import click

from mdk import demo as play


@click.command()
def demo() -> int:
    """Two people, one group, a relay in this process: no network. In a temporary directory."""
    play.main()
    return 0
