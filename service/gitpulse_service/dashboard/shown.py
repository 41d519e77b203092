"""How values look to people."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

NONE = "–"
_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))


def value(it: object, unit: str, zone: ZoneInfo | None = None) -> str:
    """A value in its unit, short: `1,234`, `2.5 h`, `87 %`, `2026-01-31 18:45`."""
    if it is None:
        return NONE
    if isinstance(it, datetime):
        return moment(it, zone)
    if unit == "seconds" and isinstance(it, int | float):
        size, name = next(((size, name) for size, name in _TIMES if abs(it) >= size), (1, "s"))
        return f"{_short(it / size)} {name}"
    if unit == "ratio" and isinstance(it, int | float):
        return f"{_short(100 * it)} %"
    return f"{it:,}" if isinstance(it, int) else f"{it:,.1f}" if isinstance(it, float) else str(it)


def moment(it: datetime, zone: ZoneInfo | None = None) -> str:
    """By the clock of the zone; without, of the moment's own."""
    return f"{it.astimezone(zone) if zone else it:%Y-%m-%d %H:%M}"


def cell(it: object, unit: str, zone: ZoneInfo | None = None) -> Markup:
    """The same as HTML that scripts and assistive technology can read."""
    text = escape(value(it, unit, zone))
    if isinstance(it, datetime):
        return Markup('<time datetime="{}">{}</time>').format(it.isoformat(), text)
    if isinstance(it, int | float):
        return Markup('<data value="{}">{}</data>').format(it, text)
    return text


def spark(values: list[float | None], width: int = 120, height: int = 28) -> str:
    """The points of a polyline through the values that are known, in a box of this size."""
    known = [it for it in values if it is not None]
    if len(known) < 2:
        return ""
    low, high, step = min(0, *known), max(known), width / (len(values) - 1)
    scale = (height - 4) / ((high - low) or 1)
    return " ".join(
        f"{i * step:.1f},{height - 2 - (it - low) * scale:.1f}" for i, it in enumerate(values) if it is not None
    )


def _short(number: float) -> str:
    """At most one digit behind the point, and none from a hundred on."""
    return f"{number:.0f}" if abs(number) >= 99.95 or number == int(number) else f"{number:.1f}".removesuffix(".0")
