"""Live: what the model answers now, and the place to say where it is wrong."""

from dataclasses import dataclass

import streamlit as st

from webapp import shared
from webapp.read_models.live import LiveView, Prediction
from webapp.read_models.turn import Step
from webapp.subscription import Subscription
from webapp.tile import Desk, tile
from webapp.views import parts
from webapp.words import mix, percent, plain, short

_HELD_AT = "live.held_at"
_STYLE = (
    ".st-key-tiles [class*=st-key-tile-]{padding:.6rem}"
    "[class*=st-key-choices-] button,[class*=st-key-change-] button{padding:.25rem .6rem;min-height:2.25rem}"
    ".st-key-tiles img,[class*=st-key-gone-]{aspect-ratio:1;object-fit:contain}"
    "[class*=st-key-gone-]{background:rgba(128,128,128,.12);border-radius:.25rem}"
)


@dataclass(frozen=True)
class Wanted:
    """What the user wants to see."""

    project: str
    classes: tuple[str, ...]
    most_confidence: float
    heat_maps: bool
    hold: bool
    given_by: str

    def shows(self, prediction: Prediction) -> bool:
        """Whether a prediction passes the filters."""
        return prediction.confidence <= self.most_confidence and (not self.classes or prediction.label in self.classes)


def show() -> None:
    """The page. What the user chooses is drawn when it is chosen, the rest once a second."""
    parts.style(_STYLE)
    live = shared.subscription()
    projects = live.projects()
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.subheader("Live", anchor=False, width="content")
        if projects:
            project = parts.project_chosen(projects)
            heat_maps = st.toggle("Heat map", help="Where the model saw its evidence.")
            hold = st.toggle("Hold still", help="New predictions wait until you let go.")
    with st.sidebar:
        given_by = parts.your_name("Goes with every correction.")
    if not projects:
        _no_project(projects)
        return
    with st.sidebar:
        classes = live.view(project).classes
        answered = st.multiselect("Answered", classes, placeholder="All classes")
        most = st.slider("Confidence at most", 0, 100, 100, format="%d %%")
    _board(
        Wanted(project, tuple(answered), most / 100, heat_maps, hold, given_by),
        projects,
        classes,
    )


@st.fragment(run_every=parts.REFRESH_S)
def _no_project(drawn_for: tuple[str, ...]) -> None:
    live = shared.subscription()
    parts.link_told(live.link())
    if live.projects() != drawn_for:
        st.rerun()
    if live.link().up:
        st.info(
            "No project yet. Define one with `loopline project apply FILE`, or see the whole loop at work with "
            "`./taskw demo`. It appears here by itself.",
            icon=":material/add_circle:",
        )


@st.fragment(run_every=parts.REFRESH_S)
def _board(wanted: Wanted, projects: tuple[str, ...], classes: tuple[str, ...]) -> None:
    live = shared.subscription()
    view = live.view(wanted.project)
    if (live.projects(), view.classes) != (projects, classes):
        st.rerun()
    parts.link_told(live.link())
    parts.trouble_told(live.letters())
    _turn(view.turn)
    _numbers(view)
    if view.predictions:
        _tiles(live, wanted, view)
    else:
        _no_predictions(live, wanted.project, view)


def _turn(steps: tuple[Step, ...]) -> None:
    told = []
    for step in steps:
        tone = "gray" if step.earlier else parts.TONES[step.tone]
        words = plain(short(step.words, 160)) + (" (turn before)" if step.earlier else "")
        told.append(f":{tone}[:material/{parts.ICONS[step.tone]}:] **{step.name}** {words}")
    if told:
        st.markdown(" :gray[→] ".join(told))


def _numbers(view: LiveView) -> None:
    numbers = view.numbers
    rate = numbers.correction_rate
    told = {
        "Predictions": f"{numbers.predictions:,}",
        "Checked": f"{numbers.checked:,}",
        "Corrected": f"{numbers.corrected:,}" + (f" ({percent(rate)} of checked)" if rate is not None else ""),
        "Model": f"v{view.answering_version}" if view.answering_version else "none yet",
    }
    shares = [f"**{plain(label)}** {plain(percent(share))}" for label, share in mix(numbers.by_class)]
    line = "\u2003".join(f":gray[{name}]\u00a0**{plain(value)}**" for name, value in told.items())
    st.markdown(line + ("\u2003:gray[Mix] " + " · ".join(shares) if shares else ""))
    if numbers.failed:
        reason = plain(short(view.last_failure or "", 200))
        st.markdown(f":red[:material/error: :small[{numbers.failed:,} without an answer, the last one: {reason}]]")


def _no_predictions(live: Subscription, project: str, view: LiveView) -> None:
    hours = live.settings.webapp_history_s / 3600
    st.info(
        f"No prediction in the last {hours:g} h. Ask for one with `loopline predict IMAGE --project {project}`, or "
        "let a camera publish `prediction.requested`; the answers appear here by themselves."
        + (
            ""
            if any(step.name == "Serving" and step.tone == "good" for step in view.turn)
            else " No model serves this project yet: label images first, the loop does the rest."
        ),
        icon=":material/photo_camera:",
    )


def _tiles(live: Subscription, wanted: Wanted, view: LiveView) -> None:
    page = st.session_state.get("live.page", 1)
    fitting = _held(tuple(filter(wanted.shows, view.predictions)), hold=wanted.hold or page > 1)
    if not fitting:
        st.info("No prediction passes the filters above.", icon=":material/filter_alt:")
        return
    size = live.settings.webapp_tiles
    desk = Desk(
        wanted.project,
        view.classes,
        live,
        shared.pictures(),
        wanted.heat_maps,
        wanted.given_by,
        parts.now(),
        parts.zone(),
    )
    pages = -(-len(fitting) // size)
    page = min(page, pages)
    with st.grid(4, min_column_width=150, key="tiles"):
        for prediction in fitting[(page - 1) * size : page * size]:
            tile(desk, prediction, view.feedback.get(prediction.id))
    if pages > 1:
        st.pagination(pages, key="live.page")


def _held(fitting: tuple[Prediction, ...], *, hold: bool) -> tuple[Prediction, ...]:
    """Without those that came since the page is held: a tile must not move away under the finger."""
    if not hold or not fitting:
        st.session_state.pop(_HELD_AT, None)
        return fitting
    held_at = st.session_state.setdefault(_HELD_AT, fitting[0].place)
    kept = tuple(prediction for prediction in fitting if prediction.place <= held_at)
    if newer := len(fitting) - len(kept):
        st.caption(f":material/pause_circle: {newer:,} newer, shown when you let go or turn to page 1.")
    return kept
