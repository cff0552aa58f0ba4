"""The gates of a card: what a candidate must reach, each with a sentence that a person would write."""

from services.evaluator.gates.against import not_overtaken, not_worse, significant
from services.evaluator.gates.alone import calibrated, enough_to_judge, floor, guessing, small_enough
from services.evaluator.gates.misses import few_missed
from services.evaluator.gates.shapes import Candidate, Champion, Gate, Judgement, Limits
from services.evaluator.gates.slices import worst_slice


def judge(limits: Limits, candidate: Candidate, champion: Champion | None) -> Judgement:
    """Hold a candidate against the limits. The first model of a project has no champion to be compared with."""
    enough = enough_to_judge(limits, candidate)
    gates = [enough, *_alone(limits, candidate)]
    if champion:
        gates += [not_overtaken(candidate, champion), not_worse(limits, champion)]
        if limits.p_value_at_most is not None:
            gates.append(significant(limits.p_value_at_most, limits.compare, champion))
    failed = [gate for gate in gates if not gate.passed]
    if not enough.passed:
        return Judgement("cannot-be-judged", f"The candidate cannot be judged. {enough.sentence}", tuple(gates))
    if failed:
        many = f"{len(failed)} of {len(gates)} gates failed."
        return Judgement("failed", " ".join([many, *(gate.sentence for gate in failed)]), tuple(gates))
    end = f"the candidate may replace version {champion.version}" if champion else "the first model may serve"
    return Judgement("passed", f"All {len(gates)} gates passed: {end}.", tuple(gates))


def _alone(limits: Limits, candidate: Candidate) -> list[Gate]:
    """Those that need no champion."""
    gates = [guessing(candidate)] if limits.better_than_guessing else []
    gates += [floor(metric, least, candidate) for metric, least in limits.floors]
    gates += [few_missed(limit, candidate) for limit in limits.misses]
    if limits.slices:
        gates.append(worst_slice(limits.slices, candidate))
    if limits.calibration_error_at_most is not None:
        gates.append(calibrated(limits.calibration_error_at_most, candidate))
    if limits.size_mb_at_most is not None:
        gates.append(small_enough(limits.size_mb_at_most, candidate))
    return gates
