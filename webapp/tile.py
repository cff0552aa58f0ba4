"""One prediction as a tile: picture, answer, and the buttons that say what is right."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

import streamlit as st

from webapp.pictures import Pictures
from webapp.read_models.live import Feedback, Prediction
from webapp.subscription import NotSaid, Subscription
from webapp.words import clock, percent, plain, short

# With more classes than this a list takes the place of one button a class.
_MOST_BUTTONS = 4
_PROBLEMS = "live.problems"
_REOPENED = "live.reopened"


@dataclass(frozen=True)
class Desk:
    """What every tile of a page needs."""

    project: str
    classes: tuple[str, ...]
    subscription: Subscription
    pictures: Pictures
    heat_maps: bool
    given_by: str
    now: datetime
    zone: tzinfo


def tile(desk: Desk, prediction: Prediction, feedback: Feedback | None) -> None:
    """Draw it, inside the container that is open."""
    with st.container(border=True, gap="xsmall", key=f"tile-{prediction.id}"):
        _picture(desk, prediction)
        st.markdown(f"**{plain(prediction.label)}** {plain(percent(prediction.confidence))}")
        st.caption(
            plain(
                f"v{prediction.model_version} · {prediction.node} · {prediction.total_ms:.0f} ms · "
                f"{clock(prediction.at, desk.now, desk.zone)}"
            )
        )
        reopened = prediction.id in st.session_state.get(_REOPENED, ())
        if feedback:
            _told(prediction, feedback, reopened)
        if feedback is None or feedback.rejection or reopened:
            _choices(desk, prediction)
        if words := _problem(prediction, feedback):
            st.markdown(f":red[{plain(words)}]")


def _problem(prediction: Prediction, feedback: Feedback | None) -> str:
    """What went wrong with this user's last click here; nothing once a later word about the prediction is heard."""
    words, word_then = st.session_state.get(_PROBLEMS, {}).get(prediction.id, ("", None))
    return words if word_then == (feedback.envelope.id if feedback else None) else ""


def _picture(desk: Desk, prediction: Prediction) -> None:
    heat_map_uri = prediction.heat_map_uri if desk.heat_maps else None
    made = desk.pictures.thumbnail(prediction.image.uri, heat_map_uri)
    words = f":material/hide_image: {made.missing}"
    if made.jpeg is None:
        with st.container(
            key=f"gone-{prediction.id}", horizontal_alignment="center", vertical_alignment="center", height="stretch"
        ):
            st.caption(words, help=plain(made.why), width="content")
        return
    st.image(made.jpeg, width="stretch", alt=f"{prediction.label}, {percent(prediction.confidence)}")
    if made.missing:
        st.caption(words, help=plain(made.why), width="content")


def _told(prediction: Prediction, feedback: Feedback, reopened: bool) -> None:
    by = plain(feedback.given_by)
    if feedback.is_correction:
        words = f":orange[:material/edit: corrected to **{plain(feedback.correct)}** by {by}]"
    else:
        words = f":green[:material/check: right, says {by}]"
    st.markdown(words)
    if feedback.rejection:
        st.markdown(f":red[:material/block: not taken: {plain(short(feedback.rejection, 200))}]")
    elif not reopened:
        st.button("Change", key=f"change-{prediction.id}", type="tertiary", on_click=_reopen, args=(prediction.id,))


def _choices(desk: Desk, prediction: Prediction) -> None:
    others = [label for label in desk.classes if label != prediction.label]
    with st.container(horizontal=True, gap="xsmall", key=f"choices-{prediction.id}"):
        st.button(
            ":material/check:",
            key=f"right-{prediction.id}",
            help=f"Right, it is {plain(prediction.label)}",
            on_click=_say,
            args=(desk, prediction, prediction.label),
        )
        if len(desk.classes) > _MOST_BUTTONS:
            key = f"is-{prediction.id}"
            st.selectbox(
                "The true class",
                others,
                index=None,
                placeholder="No, it is …",
                key=key,
                label_visibility="collapsed",
                on_change=_say_chosen,
                args=(desk, prediction, key),
            )
        else:
            for label in others:
                st.button(
                    f"No, {plain(label)}",
                    key=f"is-{prediction.id}-{label}",
                    on_click=_say,
                    args=(desk, prediction, label),
                )


def _reopen(prediction_id: str) -> None:
    st.session_state.setdefault(_REOPENED, set()).add(prediction_id)


def _say_chosen(desk: Desk, prediction: Prediction, key: str) -> None:
    if label := st.session_state.get(key):
        _say(desk, prediction, label)


def _say(desk: Desk, prediction: Prediction, correct: str) -> None:
    """Runs before the page is drawn again, also when the tile has moved away since the click."""
    problems: dict[str, tuple[str, str | None]] = st.session_state.setdefault(_PROBLEMS, {})
    problems.pop(prediction.id, None)
    before = desk.subscription.feedback(desk.project, prediction.id)
    try:
        word = desk.subscription.give_feedback(desk.project, prediction, correct, desk.given_by)
    except NotSaid as error:
        problems[prediction.id] = (str(error), before.envelope.id if before else None)
        return
    st.session_state.setdefault(_REOPENED, set()).discard(prediction.id)
    if word.correct != correct:
        problems[prediction.id] = (f"{word.given_by} was first.", word.envelope.id)
