"""What the accountant tells a person."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from contracts.events.prediction import PredictionRequested
from tests.chaos.books import Books, Finding

_SHOWN = 10


def told(findings: Iterable[Finding]) -> str:
    """The findings for a person, the first ten of each kind."""
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding.what)
    lines = []
    for kind, all_ in by_kind.items():
        lines += [f"{kind}: {len(all_)}", *(f"    {what}" for what in all_[:_SHOWN])]
    return "\n".join(lines)


def counted(books: Books) -> dict[str, int]:
    """What was looked at."""
    names = Counter(fact.name for fact in {fact.id: fact for fact in books.facts}.values())
    asked = sum(isinstance(sent.event, PredictionRequested) for sent in books.sent)
    stored_twice = len(books.facts) - len({fact.id for fact in books.facts})
    return {
        "prediction.requested": asked,
        **dict(sorted(names.items())),
        "facts stored twice": stored_twice,
        "tasks": len(books.tasks),
        "annotations": sum(len(task.annotations) for task in books.tasks),
        "runs": len(books.runs),
        "versions": len(books.versions),
        "dead letters": len(books.dead),
        "claims": sum(not key.startswith("lease.") for key in books.claims),
    }
