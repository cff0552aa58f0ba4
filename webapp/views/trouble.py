"""Trouble: what drifts, and the messages that a service gave up on with their two ways out."""

import json
from collections.abc import Callable
from typing import Literal

import streamlit as st

from services.chassis.dead import DeadLetter, printable
from webapp import shared
from webapp.read_models.trouble import Letter
from webapp.subscription import NotSaid, Subscription
from webapp.views import parts
from webapp.words import clock, plain, short

_ON_A_PAGE = 20
_OPENED = "trouble.opened"
_PROBLEMS = "trouble.problems"
_TOLD = "trouble.told"
_BODY_CHARS = 20_000
_GONE_S = 3.0


def show() -> None:
    """The page."""
    parts.style("[class*=st-key-letter-] button{padding:.25rem .6rem;min-height:2.25rem}")
    with st.sidebar:
        by = parts.your_name("Goes with what you decide.")
    st.subheader("Trouble", anchor=False)
    _board(by)


@st.fragment(run_every=parts.REFRESH_S)
def _board(by: str) -> None:
    live = shared.subscription()
    parts.link_told(live.link())
    if told := st.session_state.get(_TOLD):
        st.caption(f":material/check: {plain(told)}")
    for drift in live.drifting():
        since = clock(drift.since, parts.now(), parts.zone())
        about = f"{drift.project} v{drift.version}, {drift.kind} since {since}"
        st.warning(f"**{plain(about)}**\n\n{plain(drift.sentence)}", icon=":material/trending_down:")
    letters = live.letters()
    if not letters:
        if live.link().up:
            st.success(
                "No dead letters: every message was handled, or is still being tried.", icon=":material/check_circle:"
            )
        return
    durables = sorted({letter.durable for letter in letters})
    if len(durables) > 1:
        chosen = st.pills("Gave up", durables, selection_mode="multi", label_visibility="collapsed")
        letters = tuple(letter for letter in letters if not chosen or letter.durable in chosen)
    newest_first = letters[::-1]
    pages = -(-len(newest_first) // _ON_A_PAGE)
    page = min(st.session_state.get("trouble.page", 1), pages)
    for letter in newest_first[(page - 1) * _ON_A_PAGE : page * _ON_A_PAGE]:
        with st.container(border=True, gap="xsmall", key=f"letter-{letter.id}"):
            _letter(live, letter, by)
    if pages > 1:
        st.pagination(pages, key="trouble.page")
        st.caption("All of one kind at once: `loopline dead replay --all --service NAME`.")


def _letter(live: Subscription, letter: Letter, by: str) -> None:
    about = f" of {plain(letter.project)}" if letter.project else ""
    st.markdown(f"**{plain(letter.name or 'not an event')}**{about}")
    st.markdown(f":red[{plain(short(letter.reason, 400))}]")
    tries = "1 try" if letter.tries == 1 else f"{letter.tries} tries"
    at = clock(letter.at, parts.now(), parts.zone())
    st.caption(plain(f"{letter.id} · {letter.durable} gave up after {tries} · {at}"))
    opened: dict[int, DeadLetter] = st.session_state.setdefault(_OPENED, {})
    with st.container(horizontal=True, gap="xsmall"):
        st.button(
            "Replay",
            key=f"replay-{letter.id}",
            icon=":material/replay:",
            help=f"Give it back to {letter.durable}, and to no one else.",
            on_click=_replay,
            args=(live, letter.id, by),
        )
        with st.popover("Discard", icon=":material/delete:"):
            st.text_input("Why need it not be handled?", key=f"why-{letter.id}", max_chars=500)
            st.button("Throw away", key=f"discard-{letter.id}", on_click=_discard, args=(live, letter.id, by))
        st.button(
            "Less" if letter.id in opened else "Details",
            key=f"details-{letter.id}",
            type="tertiary",
            on_click=_close if letter.id in opened else _open,
            args=(letter.id,) if letter.id in opened else (live, letter.id),
        )
    if problem := st.session_state.get(_PROBLEMS, {}).get(letter.id):
        st.markdown(f":red[{plain(problem)}]")
    if letter.id in opened:
        _details(opened[letter.id])


def _details(letter: DeadLetter) -> None:
    ids = {"event": letter.envelope.id if letter.envelope else "", "trace": letter.trace_id, "subject": letter.subject}
    told = [f"{name} `{value}`" for name, value in ids.items() if value and "`" not in value]
    st.markdown(f":small[{' · '.join((*told, f'heard at `{letter.stream}:{letter.sequence}`'))}]")
    body = _body(letter)
    st.code(body, language="json", wrap_lines=True, height=_height(body))
    if letter.whole_bytes is not None:
        st.caption(f"The beginning of {letter.whole_bytes:,} bytes, which could not be kept whole.")
    if letter.stack:
        st.code(letter.stack, language="python", wrap_lines=True, height=_height(letter.stack))
    if letter.headers:
        headers = sorted(letter.headers.items())
        st.code("\n".join(f"{name}: {value}" for name, value in headers), language=None, wrap_lines=True)


def _height(text: str) -> int | Literal["content"]:
    return 300 if text.count("\n") > 12 else "content"


def _body(letter: DeadLetter) -> str:
    try:
        text = json.dumps(json.loads(letter.body), indent=2, ensure_ascii=False)
    except ValueError:
        text = letter.body.decode("utf-8", "backslashreplace")
    return short(printable(text, kept="\n\t"), _BODY_CHARS)


def _open(live: Subscription, id_: int) -> None:
    if letter := _done(id_, lambda: live.do(lambda client: client.dead.find(id_))):
        st.session_state[_OPENED][id_] = letter


def _close(id_: int) -> None:
    st.session_state[_OPENED].pop(id_, None)


def _replay(live: Subscription, id_: int, by: str) -> None:
    if letter := _done(id_, lambda: live.do(lambda client: client.dead.replay(id_, by))):
        _until_gone(live, id_)
        st.session_state[_TOLD] = f"{id_} went back to {letter.durable}."


def _discard(live: Subscription, id_: int, by: str) -> None:
    # As it is now: when the button was drawn nothing was written yet.
    why = st.session_state.get(f"why-{id_}", "").strip()
    if not why:
        _problems()[id_] = "Say why first."
        return
    if _done(id_, lambda: live.do(lambda client: client.dead.discard(id_, why, by))):
        _until_gone(live, id_)
        st.session_state[_TOLD] = f"{id_} was thrown away."


def _until_gone(live: Subscription, id_: int) -> None:
    """So that the page drawn next no longer has it."""
    live.wait_until(lambda: all(letter.id != id_ for letter in live.letters()), _GONE_S)


def _done(id_: int, work: Callable[[], DeadLetter]) -> DeadLetter | None:
    """The letter that something was done with; None with the reason beside the letter when it was not."""
    try:
        letter = work()
    except NotSaid as error:
        _problems()[id_] = str(error)
        return None
    _problems().pop(id_, None)
    return letter


def _problems() -> dict[int, str]:
    found: dict[int, str] = st.session_state.setdefault(_PROBLEMS, {})
    return found
