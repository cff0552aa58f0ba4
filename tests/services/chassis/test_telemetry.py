from datetime import UTC, datetime

import pytest

from contracts.envelope import Envelope
from services.chassis.telemetry import carried, inside, sampler, span


@pytest.mark.parametrize(("name", "share"), [("process dataset.versioned", 1), ("process prediction.requested", 0.25)])
def test_turns_are_always_traced_and_predictions_by_ratio(name: str, share: float) -> None:
    decides = sampler(0.25)
    # The lower half of the id is what the ratio is taken of.
    ids = [number * 2**64 // 1000 for number in range(1000)]
    kept = [decides.should_sample(None, trace_id, name).decision.is_sampled() for trace_id in ids]
    assert sum(kept) == share * len(ids)


def test_a_trace_that_is_not_kept_has_no_spans_and_goes_on_under_its_id() -> None:
    traceparent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"
    heard = Envelope(
        id="1", type="", source="", project="solar", time=datetime.now(UTC), correlation_id="1",
        traceparent=traceparent, tracestate="a=b",
    )  # fmt: skip
    with inside(heard), span("process prediction.requested"), span("triton.infer") as current:
        assert not current.is_recording()
        assert carried() == (traceparent, "a=b")
    assert carried() == (None, None)
