import json
from pathlib import Path

from services.chassis.traces import StoredSpan, covered_s, read_spans


def span(name: str, start_s: float, end_s: float) -> StoredSpan:
    return StoredSpan("t", name, "", name, "trainer", start_s, end_s)


def test_overlapping_work_is_counted_once_and_only_inside_the_turn() -> None:
    spans = [span("a", 0, 3), span("b", 2, 5), span("a", 6, 9), span("other", 0, 100), span("a", 6.5, 7)]
    assert covered_s(spans, ["a", "b"], start_s=1, end_s=8) == 4 + 2
    assert covered_s([], ["a"], start_s=1, end_s=8) == 0


def test_a_line_that_is_being_written_does_not_hide_the_others(tmp_path: Path) -> None:
    written = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "trainer"}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": trace_id,
                                "spanId": "1",
                                "name": "training.run",
                                "startTimeUnixNano": "1000000000",
                                "endTimeUnixNano": "2500000000",
                            }
                            for trace_id in ("a", "b")
                        ]
                    }
                ],
            }
        ]
    }
    (tmp_path / "trainer-1.jsonl").write_text(json.dumps(written) + '\n{"resourceSp')
    assert [(one.trace_id, one.service, one.end_s) for one in read_spans(tmp_path)] == [
        ("a", "trainer", 2.5),
        ("b", "trainer", 2.5),
    ]
    assert len(read_spans(tmp_path, "b")) == 1
