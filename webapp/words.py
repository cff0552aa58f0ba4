"""Small pieces of text. What comes from the bus is data: it must not turn into Markdown on the page."""

import re
from datetime import UTC, datetime, tzinfo

_MEANS_SOMETHING = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def plain(text: str) -> str:
    """`text` so that Streamlit's Markdown shows it letter by letter, on one line."""
    return _MEANS_SOMETHING.sub(r"\\\1", " ".join(text.split()))


def percent(share: float) -> str:
    """0..1 as a whole percentage; below 100 % never rounded up to it."""
    return f"{min(round(share * 100), 99 if share < 1 else 100)} %"


def short(text: str, most: int) -> str:
    """At most so many characters; what is cut off is an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def clock(at: datetime, now: datetime, zone: tzinfo = UTC) -> str:
    """The time of day where the reader is; with its date where that is not today's."""
    at, now = at.astimezone(zone), now.astimezone(zone)
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%d %b %H:%M")


def mix(by_class: tuple[tuple[str, int], ...], most: int = 4) -> list[tuple[str, float]]:
    """Classes with their share of all, the frequent ones first; the rest together as `others`."""
    total = sum(count for _, count in by_class)
    shares = [(label, count / total) for label, count in by_class] if total else []
    if len(shares) <= most:
        return shares
    return [*shares[: most - 1], ("others", sum(share for _, share in shares[most - 1 :]))]
