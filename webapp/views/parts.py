"""What several pages show alike."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from services.chassis.client import whoami
from webapp.known import Link
from webapp.read_models.trouble import Letter
from webapp.words import clock, plain

REFRESH_S = 1.0
TONES = {"good": "green", "bad": "red", "busy": "blue", "waiting": "gray"}
ICONS = {"good": "check_circle", "bad": "cancel", "busy": "progress_activity", "waiting": "schedule"}


def project_chosen(projects: tuple[str, ...]) -> str:
    """The project that the pages are about, the same on all of them."""
    chosen: str = st.selectbox(
        "Project", projects, key="project", bind="query-params", width=220, label_visibility="collapsed"
    )
    return chosen


def your_name(help_: str) -> str:
    """Under whose name things are said."""
    return st.text_input("Your name", whoami(), max_chars=200, help=help_).strip() or whoami()


def link_told(link: Link) -> None:
    """A line of words while the bus is away."""
    if link.up:
        return
    words = plain(link.words[:1].upper() + link.words[1:].rstrip("."))
    if link.since:
        words += f". What is shown is from {clock(link.since, now(), zone())}; it goes on by itself."
    st.warning(words, icon=":material/cloud_off:")


def trouble_told(letters: tuple[Letter, ...]) -> None:
    """A line of words while there are dead letters."""
    if letters:
        what = "One message" if len(letters) == 1 else f"{len(letters):,} messages"
        st.markdown(f":red[:material/report: :small[{what} could not be handled: see Trouble.]]")


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def zone() -> tzinfo:
    """Where the reader is."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except ZoneInfoNotFoundError:
        return UTC


def style(more: str = "") -> None:
    """Less air around a page than Streamlit leaves, and whatever else the page wants."""
    st.html(
        "<style>"
        ".block-container{padding:3rem 2rem 2rem}"
        "@media(max-width:640px){.block-container{padding:4rem 1rem 2rem}}"
        # Streamlit greys out what it draws again; once a second that would be a flicker.
        "[data-stale=true]{opacity:1!important}"
        f"{more}</style>"
    )
