"""Loop: where a project stands, station by station, and what was refused on the way."""

import streamlit as st

from webapp import shared
from webapp.read_models.loop import Happening, Station
from webapp.views import parts
from webapp.words import clock, plain, short

_ICONS = {
    "Label": "label",
    "Dataset": "dataset",
    "Train": "model_training",
    "Evaluate": "balance",
    "Register": "inventory_2",
    "Deploy": "rocket_launch",
    "Predict": "photo_camera",
}
_ID_CHARS = 12


def show() -> None:
    """The page."""
    parts.style()
    projects = shared.subscription().projects()
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.subheader("Loop", anchor=False, width="content")
        project = parts.project_chosen(projects) if projects else ""
    _board(project, projects)


@st.fragment(run_every=parts.REFRESH_S)
def _board(project: str, drawn_for: tuple[str, ...]) -> None:
    live = shared.subscription()
    if live.projects() != drawn_for:
        st.rerun()
    parts.link_told(live.link())
    parts.trouble_told(live.letters())
    if not project:
        if live.link().up:
            st.info("No project yet. Define one with `loopline project apply FILE`.", icon=":material/add_circle:")
        return
    with st.grid(4, min_column_width=200, key="stations"):
        for station in live.stations(project):
            with st.container(border=True, gap="xsmall", height="stretch"):
                _station(station)


def _station(station: Station) -> None:
    st.markdown(f":material/{_ICONS[station.name]}: **{station.name}**")
    if station.last is None:
        st.caption("Nothing yet")
        return
    _happening(station.last)
    if station.refused:
        at = clock(station.refused.at, parts.now(), parts.zone())
        st.markdown(f":red[:small[:material/block: {at} {plain(short(station.refused.words, 200))}]]")


def _happening(last: Happening) -> None:
    icon, tone = parts.ICONS[last.tone], parts.TONES[last.tone]
    st.markdown(f":{tone}[:material/{icon}:] {plain(short(last.words, 200))}")
    ids = " · ".join((last.name, *(_shortened(ref) for ref in last.refs)))
    st.caption(
        f"{clock(last.at, parts.now(), parts.zone())} · {plain(ids)}",
        help=plain(" · ".join((*last.refs, f"event {last.event_id}", f"turn {last.turn}"))),
    )


def _shortened(ref: str) -> str:
    name, _, value = ref.partition(" ")
    return f"{name} {value[:_ID_CHARS]}"
