"""Messages for a subscriber: those that fit, those that almost fit, and those that are nothing at all."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

from contracts.events.base import Event
from contracts.events.prediction import PredictionRequested
from contracts.topology import Consumer
from tests.contracts.instances import instances

# What may stand in a message and must not be told to anyone.
SECRET = "hunter2-only-for-tests"

_PNG = PredictionRequested.model_fields["image_base64"].examples[0]  # type: ignore[index]
_PROJECTS = ["solar", "solar", "solar", "lunar", "a" * 40]
# What the filters of a durable let through: any token.
_ODD_PROJECTS = ["SOLAR", "é", "a" * 41, "-", "$SYS", "x_y", "\x7f"]
_ODD_TEXTS = [
    "", " ", "\x00", "a\x00b", "\r\nce-id: injected", "\n", "\u2028", "💥", "é" * 50, "x" * 70_000,
    "../../etc/passwd", ">", "*", "loopline.>", "%s%n", "{}", "null", "NaN", "0", "-1", SECRET,
    "| ; $(id)", "9" * 5_000, "1e999",
]  # fmt: skip
_ODD_VALUES = [
    None, True, 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 0.1, -0.0, 1e308, 5e-324, [], {}, [[]], "",
    *_ODD_TEXTS,
]  # fmt: skip
_DEEP = [
    b"[" * 100_000, b'{"card":' * 20_000, b"[" * 100 + b"]" * 100, b'{"plan":' * 60 + b"1" + b"}" * 60,
    b'{"metadata":' + b"[" * 150 + b"]" * 150 + b"}",
]  # fmt: skip
_BROKEN = [
    b"", b" ", b"\x00", b"\xff\xfe", b"\xc3\x28", b'{"why": "\xed\xa0\x80"}', b'{"why": "\\ud800"}', b"{", b"[]",
    b"null", b'"text"', b"1", b"NaN", b"Infinity", b'{"why": 1e999}', b'{"why": ' + b"9" * 5_000 + b"}",
    b'{"a": 1, "a": 2}',
    b"\xef\xbb\xbf{}", b"{}\x00", b"{} {}", b"<xml/>", b"x" * 1_000_000, b'{"why": "' + b"y" * 900_000 + b'"}',
]  # fmt: skip
_NAMES = [
    "ce-id", "ce-type", "ce-source", "ce-subject", "ce-time", "ce-hops", "ce-correlationid", "ce-causationid",
    "ce-specversion", "CE-ID", "Ce-Time", "traceparent", "tracestate", "Nats-Msg-Id", "Nats-Scheduler", "content-type",
    "loopline-redo-of", "loopline-redo-origin", "loopline-dead-reason", "x", "(x)", "{}", "\x01", "x" * 300,
]  # fmt: skip
_TIMES = [
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-24", "now", "2026-11-24T12:00:00",
    "1970-01-01T00:00:00Z", "2026-W48-2", "1764000000", "2026-11-24T12:00:00.123456789123Z", "2026-11-24T24:00:00Z",
]  # fmt: skip
_TRACES = [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0-0-0", "ff-" + "0" * 32 + "-" + "0" * 16 + "-00",
    "---",
]  # fmt: skip


@dataclass(frozen=True)
class Message:
    """What arrives: its place in the stream, how often it was tried, and all that the sender chose."""

    subject: str
    headers: dict[str, str]
    body: bytes
    tries: int
    seq: int


def messages(row: Consumer) -> st.SearchStrategy[Message]:
    """Of a durable. Of each message at most one part is odd, or all of them may be."""
    return st.sampled_from(row.hears).flatmap(lambda event: _messages_of(event, row))


def _messages_of(event: type[Event], row: Consumer) -> st.SearchStrategy[Message]:
    right = st.sampled_from(_PROJECTS)
    odd_subjects = st.sampled_from([*(event.subject(project) for project in _ODD_PROJECTS), row.redo_subject])
    few_headers = st.sampled_from([{}, {}, {"ce-type": event.TYPE}])
    first_tries, any_tries = st.just(1), st.sampled_from([1, 2, len(row.pauses_s) + 1, 10_000])

    def made(project: str, subject: str | None, headers: dict[str, str], body: bytes, tries: int, seq: int) -> Message:
        return Message(subject or event.subject(project), headers, body, tries, seq)

    def of(subject: Any, headers: Any, bodies: Any, tries: Any) -> st.SearchStrategy[Message]:
        seqs = st.integers(1, 10_000) | st.sampled_from([0, 2**63])
        return right.flatmap(
            lambda project: st.builds(made, st.just(project), subject, headers, bodies(event, project), tries, seqs)
        )

    fits = of(st.none(), few_headers, _fitting, first_tries)
    return st.one_of(
        fits,
        fits,
        of(st.none(), few_headers, _bodies, first_tries),
        of(st.none(), few_headers, _bodies, first_tries),
        of(st.none(), _headers(event), _fitting, first_tries),
        of(st.none(), _headers(event), _fitting, first_tries),
        of(odd_subjects, few_headers, _fitting, any_tries),
        of(st.none() | odd_subjects, _headers(event), _bodies, any_tries),
    )


def _headers(event: type[Event]) -> st.SearchStrategy[dict[str, str]]:
    texts = st.one_of(
        st.sampled_from([event.TYPE, event.TYPE.replace(".v1", ".v9"), "solar", "33", "x-1"]),
        st.sampled_from(_ODD_TEXTS),
        st.sampled_from(_TIMES),
        st.sampled_from(_TRACES),
        st.text(max_size=40),
    )
    # What nats-py lets through: names of ASCII without spaces, values without line ends.
    values = texts.map(lambda text: text.replace("\r\n", "").strip())
    names = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=10)
    one = st.builds(lambda name, value: {name: value}, st.sampled_from(_NAMES), values)
    return one | st.dictionaries(st.sampled_from(_NAMES) | names, values, max_size=6)


@cache
def _values(event: type[Event]) -> st.SearchStrategy[Any]:
    fitting = instances(event.model_json_schema(mode="validation"))
    if event is not PredictionRequested:
        return fitting
    # Its rule, which the schema cannot express, and a picture that is one.
    images = [{"image_base64": _PNG}, {"image_uri": f"blob://{'0' * 64}.png"}]
    odd = [{"image_base64": image} for image in (_PNG[:40], "aGVsbG8=", "=", "é", "A" * 349_528)]
    none = {"image_base64": None, "image_uri": None}
    return st.builds(lambda value, image: value | none | image, fitting, st.sampled_from(images + odd))


def _fitting(event: type[Event], project: str) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda value, home: json.dumps(_at_home(value, project) if home else value).encode(),
        _values(event),
        st.sampled_from([True, True, False]),
    )


def _bodies(event: type[Event], project: str) -> st.SearchStrategy[bytes]:
    """Almost fitting, cut off, or nothing at all."""
    almost = st.builds(
        lambda value, where, odd: _changed(_at_home(value, project), where, odd),
        _values(event),
        st.integers(0, 2**32),
        st.sampled_from(_ODD_VALUES),
    ).map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    cut = st.builds(lambda body, at: body[: at % (len(body) + 1)], _fitting(event, project), st.integers(0, 10_000))
    nothing = st.one_of(st.binary(max_size=200), st.sampled_from(_BROKEN), st.sampled_from(_DEEP))
    return st.one_of(almost, almost, cut, nothing)


def _at_home(value: Any, project: str) -> Any:
    """About the project that it is said of, and about classes that its card knows: so it gets further."""
    if isinstance(value, list):
        return [_at_home(one, project) for one in value]
    if not isinstance(value, dict):
        return value
    home = {"project": project, "name": project, "label": "defective", "correct": "functional"}
    return {
        key: home[key] if key in home and isinstance(one, str) else _at_home(one, project) for key, one in value.items()
    }


def _changed(value: Any, where: int, odd: Any) -> Any:
    """With one part, chosen by a number, removed, doubled under another name, or put in place of an odd one."""
    if isinstance(value, dict) and value:
        name = sorted(value)[where % len(value)]
        rest = {key: one for key, one in value.items() if key != name}
        kind = where % 5
        if kind == 0:
            return rest
        if kind == 1:
            return value | {f"{name}2": odd}
        return rest | {name: odd if kind == 2 else _changed(value[name], where // 7, odd)}
    if isinstance(value, list) and value:
        at = where % len(value)
        return [*value[:at], _changed(value[at], where // 7, odd), *value[at + 1 :]]
    return odd
