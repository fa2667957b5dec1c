"""Just enough SVG for scripts/pictures.py: boxes, arrows, bars and text that are readable on light and dark pages."""

from __future__ import annotations

import textwrap
from xml.sax.saxutils import escape

STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1c2733 }
.name { font-weight: 600; font-size: 15px }
.head { font-weight: 600; font-size: 15px; text-anchor: middle }
.small, .middle-small { font-size: 12px; fill: #44525f }
.quiet { font-size: 12px; fill: #6b7885 }
.middle, .middle-small { text-anchor: middle }
.right { text-anchor: end }
.right-name { text-anchor: end; font-weight: 600; font-size: 15px }
.page { fill: #ffffff }
.box { fill: #f3f6f9; stroke: #8fa1b3 }
.strong { fill: #e3eefb; stroke: #3b7dc4 }
.soft { fill: none; stroke: #8fa1b3; stroke-dasharray: 4 3 }
.line { stroke: #6b7885; stroke-width: 1.4; fill: none }
.tip { fill: #6b7885 }
.ours { fill: #2f78c4 }
.peer { fill: #b9c4cf }
@media (prefers-color-scheme: dark) {
text { fill: #e4eaf0 }
.small, .middle-small { fill: #b4c0cb }
.quiet { fill: #93a1ae }
.page { fill: #10161c }
.box { fill: #1b242d; stroke: #5d6f80 }
.strong { fill: #16304b; stroke: #5b9be0 }
.peer { fill: #566473 }
}
""".strip()


class Canvas:
    """A picture of a fixed size, in pixels."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._parts: list[str] = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
                f'width="{width:g}" height="{height:g}">'
            ),
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            (
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
                'orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
            ),
            f'<rect class="page" width="{width:g}" height="{height:g}" rx="8"/>',
        ]

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        strong: bool = False,
        soft: bool = False,
    ) -> None:
        """A box with round corners."""
        kind = "strong" if strong else "soft" if soft else "box"
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>'
        )

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A bar of a chart."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" rx="2"/>'
        )

    def text(self, x: float, y: float, text: str, *, kind: str) -> None:
        """One line of text; `kind` is a class of the style."""
        self._parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:g}">{escape(text)}</text>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A straight arrow."""
        self._parts.append(
            f'<path class="line" marker-end="url(#tip)" d="M{x1:g} {y1:g} {x2:g} {y2:g}"/>'
        )

    def render(self) -> str:
        """The whole file."""
        return "\n".join([*self._parts, "</svg>", ""])


def wrap(text: str, width: int) -> list[str]:
    """Text in lines of at most so many characters."""
    return textwrap.wrap(text, width)
