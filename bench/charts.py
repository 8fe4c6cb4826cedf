"""Bar charts as SVG, written by hand: what a report needs and nothing more. Pure: values in, text out."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Final

_WIDTH: Final = 760
_LABELS: Final = 210
_NUMBERS: Final = 110
_BAR: Final = 16
_GAP: Final = 6
_TOP: Final = 46
_STYLE: Final = (
    ".b{fill:#fff}text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600;font-size:15px}"
    ".s{fill:#666;font-size:12px}"
    ".n{fill:#444;font-size:12px}@media(prefers-color-scheme:dark){.b{fill:#0d1117}text,.n{fill:#ddd}.s{fill:#aaa}}"
)
_COLOURS: Final = {"ours": "#0b7285", "limit": "#adb5bd", "peer": "#74b3c2"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `kind` is `ours`, `peer` or `limit`."""

    label: str
    value: float
    kind: str
    text: str
    """The value as it is to be read."""


def bar_chart(title: str, subtitle: str, bars: Sequence[Bar], *, logarithmic: bool = False) -> str:
    """Horizontal bars, one below the other, in the order given. Values are not negative."""
    height = _TOP + len(bars) * (_BAR + _GAP) + 12
    lengths = _lengths([bar.value for bar in bars], logarithmic=logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        # Text on a ground of its own is readable whatever the page's colours are.
        '<rect class="b" width="100%" height="100%" rx="6"/>',
        f'<text class="t" x="8" y="20">{escape(title)}</text><text class="s" x="8" y="37">{escape(subtitle)}</text>',
    ]
    for place, (bar, length) in enumerate(zip(bars, lengths, strict=True)):
        y = _TOP + place * (_BAR + _GAP)
        middle = y + _BAR - 4
        parts.append(
            f'<text x="{_LABELS - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2" fill="{_COLOURS[bar.kind]}"/>'
            f'<text class="n" x="{_LABELS + length + 6:.1f}" y="{middle}">{escape(bar.text)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _lengths(values: Sequence[float], *, logarithmic: bool) -> list[float]:
    """Pixels of each; the largest fills the space. On a logarithmic scale a decade below the smallest is nothing."""
    room = _WIDTH - _LABELS - _NUMBERS
    most = max(values, default=0.0)
    if most <= 0:
        return [0.0 for _ in values]
    if not logarithmic:
        return [room * value / most for value in values]
    floor = log10(min(value for value in values if value > 0)) - 1
    return [room * (log10(value) - floor) / (log10(most) - floor) if value > 0 else 0.0 for value in values]
