"""`loopline drift` against a bus in memory."""

from pathlib import Path

from contracts.project import Watch
from services.evaluator.watched import Look, Watched
from tests.said import START
from tests.services.cli.world import defined, refused, run


def _look(**fields: object) -> Look:
    return Look.model_validate(
        {
            "kind": "classes",
            "statistic": 0.7,
            "threshold": 0.15,
            "p_value": 0.0002,
            "p_threshold": 0.00025,
            "count": 200,
            "at": START,
            "sentence": "Version 3 answers defective for 90% of them.",
            **fields,
        }
    )


def test_drift_shows_each_statistic_its_limit_and_since_when(tmp_path: Path) -> None:
    client = defined(tmp_path)
    over = _look(kind="inputs", statistic=0.01, threshold=0.02, sentence="")
    state = Watched(version=3, reference=500, waiting=7, looks=(over, _look(drifting_since=START)))
    client.kept["state.solar"] = state.model_dump(mode="json")
    shown = run(client, "drift")
    assert shown.code == 0
    assert "version 3 of solar, compared with its first 500 answers; 7 are new" in shown.out
    inputs, classes = (line for line in shown.out.splitlines() if line.split()[0] in ("inputs", "classes"))
    assert ("0.010" in inputs, "at most 0.02" in inputs) == (True, True)
    assert classes.count("11-24") == inputs.count("11-24") + 1
    assert "Version 3 answers defective for 90% of them." in shown.out
    told = run(client, "drift", "--json").json
    assert (told["project"], told["version"], len(told["looks"])) == ("solar", 3, 2)
    assert told["looks"][1]["drifting_since"]


def test_before_there_is_something_to_see_it_says_what_is_waited_for(tmp_path: Path) -> None:
    client = defined(tmp_path)
    assert "no version serves" in run(client, "drift").out
    assert run(client, "drift", "--json").json["looks"] is None
    client.kept["state.solar"] = Watched(version=3, waiting=41).model_dump(mode="json")
    assert "41 answers so far" in run(client, "drift").out
    client.kept["state.solar"] = Watched(version=3, reference=Watch().reference).model_dump(mode="json")
    assert "no window is full yet" in run(client, "drift").out
    assert "not defined" in refused(run(client, "drift", "--project", "other"))
