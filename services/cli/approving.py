"""`loopline models approve|reject|demote`: a person's word about a registered version."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.errors import BadInput
from services.cli.options import AsJson, Project
from services.cli.session import session_of, the_project

if TYPE_CHECKING:
    from contracts.envelope import Envelope
    from contracts.events import Event
    from services.chassis.client import Client
    from services.cli.versions import Known

Version = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="As `loopline models` shows it.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="For the history.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so; you when missing.")]


def approve(
    context: typer.Context, version: Version, why: Why, by: By = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Let a version serve, also an older one than the one that serves. It is rolled out at once."""
    from contracts.events.model import ModelApproved

    def word(known: "dict[int, Known]", one: "Known", who: str) -> "Event":
        if one.serves and one.state == "serves":
            raise BadInput(f"version {version} serves already")
        if one.state in ("approved", "rolling out") and one.approval:
            raise BadInput(f"version {version} was approved already by {one.approval.approved_by}, its rollout goes on")
        if one.version.signature is None:
            raise BadInput(f"version {version} was never signed, and no node takes it: train it again")
        serving = _serving(known)
        # The deployer takes an older version for a late arrival unless it is told what it is to replace.
        instead_of = serving if serving and serving > version else None
        return ModelApproved(version=one.version, approved_by=who, why=why, instead_of=instead_of)

    _say(context, project, version, by, as_json, word, "approved: it is rolled out; loopline watch shows how")


def reject(
    context: typer.Context, version: Version, why: Why, by: By = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Say no to a version that does not serve. The gates approve it no more; a person still can."""
    from contracts.events.model import ModelRejected

    def word(known: "dict[int, Known]", one: "Known", who: str) -> "Event":
        if one.serves:
            raise BadInput(f"version {version} serves: loopline models demote {version} puts the former one back")
        if one.state in ("rejected", "demoted"):
            raise BadInput(f"version {version} is {one.state} already: {one.why}")
        return ModelRejected(version=one.version, rejected_by=who, why=why)

    _say(context, project, version, by, as_json, word, "rejected: only a person can approve it from now on")


def demote(
    context: typer.Context, version: Version, why: Why, by: By = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Take the version that serves out of service: the one that served before it comes back."""
    from contracts.events.model import ModelDemoted

    def word(known: "dict[int, Known]", one: "Known", who: str) -> "Event":
        serving = _serving(known)
        if not one.serves:
            there = f"version {serving} does" if serving else "nothing does"
            raise BadInput(f"version {version} does not serve, {there}: loopline models reject {version} says no to it")
        if not any(other.served and not other.taken_back for number, other in known.items() if number != version):
            raise BadInput(
                f"there is no version to put back for version {version}: approve another one "
                "(loopline models approve), which then takes its place"
            )
        return ModelDemoted(version=one.version, demoted_by=who, why=why)

    _say(context, project, version, by, as_json, word, "demoted: the one that served before it is rolled out")


def _serving(known: "dict[int, Known]") -> int | None:
    return next((number for number, one in known.items() if one.serves), None)


def _say(
    context: typer.Context,
    project: str | None,
    version: int,
    by: str | None,
    as_json: bool,
    word: "Callable[[dict[int, Known], Known, str], Event]",
    done: str,
) -> None:
    """Say `word` about the version. It follows from what was said of it last: the same word twice is said once."""
    from services.chassis.client import whoami
    from services.cli.versions import find, versions_of

    session, who = session_of(context), by or whoami()
    if who == "gates":
        raise BadInput("gates are no person: --by says who it is")
    assert context.parent
    asked = project or context.parent.params.get("project")

    async def work(client: "Client") -> "Envelope":
        name = await the_project(client, asked)
        known = await versions_of(client, name)
        one = find(known, version, name)
        event = word(known, one, who)
        return await client.say(event, project=name, cause=one.words[-1][1])

    envelope = session.run(work)
    if as_json:
        session.json({"id": envelope.id, "project": envelope.project, "version": version})
    else:
        session.out.print(f"version {version} of {envelope.project} is {done}")
