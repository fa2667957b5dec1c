"""A QR code on the terminal, if the extra `qr` is installed."""

import io
import sys

import click

HINT = "No QR code: pip install 'segno>=1.6,<2' adds it."


def show(text: str) -> bool:
    """Draw a QR code of the text on stdout. Without the library say how to get it, on stderr."""
    try:
        import segno  # noqa: PLC0415  # optional
    except ImportError:
        click.echo(HINT, err=True)
        return False
    drawn = io.StringIO()
    # Two modules a character; `compact` needs a terminal that knows half blocks.
    segno.make(text, error="l", micro=False).terminal(out=drawn, border=2, compact=True)
    try:
        click.echo(drawn.getvalue().rstrip("\n"))
    except UnicodeEncodeError:
        click.echo(f"No QR code: the terminal's encoding is {sys.stdout.encoding}.", err=True)
        return False
    return True
