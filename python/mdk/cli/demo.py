"""`mdk demo`."""

from dataclasses import asdict

import click

from . import output
from .options import json_option


@click.command()
@json_option
def demo(as_json: bool) -> int:
    """Two people, one group, a relay in this process: no network. In a temporary directory."""
    # Every command would take longer to start for what one of them uses.
    from mdk import demo as play  # noqa: PLC0415

    if not as_json:
        play.main()
        return 0
    outcome = play.run(play.leave_out)
    output.show(as_json, {"command": "demo", "exit_code": 0, **asdict(outcome)}, ())
    return 0
