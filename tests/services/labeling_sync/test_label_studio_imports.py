"""Label Studio that forgets the annotations of an import, or is late: as the real one where its database was locked."""

from dataclasses import replace
from typing import Any, ClassVar, cast

from services.labeling_sync.adapters.label_studio import Http, LabelStudio, shapes
from services.labeling_sync.labels import GivenLabel, Guess, NewTask

LABEL = GivenLabel("6f9619ff-8b86-5011-b42d-00cf4fc964ff", "upper", "import")


class Pictures:
    """Where pictures are shown from."""

    def url(self, uri: str) -> str:
        return f"/data/{uri}"


class Forgetful:
    """Keeps tasks; keeps the annotations of an import only when it does not `forget`."""

    def __init__(self, forgets: bool) -> None:
        self.forgets = forgets
        self.tasks: list[dict[str, Any]] = []
        # What the call of a replica that has died makes after everybody has looked.
        self.late: list[dict[str, Any]] = []

    async def call(self, method: str, path: str, *, params: Any = None, body: Any = None) -> Any:
        if path == "/api/projects/":
            return {"results": [{"id": 1, "title": "loopline:corners"}]}
        if method == "GET":
            return {"tasks": self.tasks}
        if method == "DELETE":
            self.tasks = [task for task in self.tasks if path != f"/api/tasks/{task['id']}/"]
            return None
        if self.late:
            await self._make([self.late.pop()])
        return await self._make(body)

    async def _make(self, body: list[dict[str, Any]]) -> dict[str, Any]:
        first = len(self.tasks) + 1
        for id_, task in enumerate(body, first):
            self.tasks.append({**task, "id": id_, "annotations": [] if self.forgets else task.get("annotations", [])})
        return {"task_ids": list(range(first, len(self.tasks) + 1))}


def a_task(digit: str, label: GivenLabel | None = None) -> NewTask:
    return NewTask(digit * 64, f"blob://{digit * 64}.png", "random", 32, 32, event="added", label=label)


def a_studio(server: Forgetful) -> LabelStudio:
    return LabelStudio(cast(Http, server), cast(Any, Pictures()))


async def test_a_task_is_not_said_to_have_the_label_that_the_import_has_forgotten() -> None:
    made = await a_studio(Forgetful(forgets=True)).make_task("corners", a_task("a", LABEL))
    assert (made.id, made.label_id) == (1, "")


async def test_a_task_that_was_found_has_its_label_only_if_it_is_on_it() -> None:
    for forgets, label_id in ((True, ""), (False, LABEL.id)):
        server = Forgetful(forgets)
        await a_studio(server).make_task("corners", a_task("a", LABEL))
        found = await a_studio(server).make_task("corners", a_task("a", LABEL))
        assert (len(server.tasks), found.label_id) == (1, label_id)


async def test_of_two_tasks_that_two_calls_made_of_one_image_the_older_one_is_left() -> None:
    server = Forgetful(forgets=False)
    server.late = [shapes.new_task(a_task("a", LABEL), "/data/a")]
    made = await a_studio(server).make_task("corners", a_task("a", LABEL))
    assert (made.id, made.label_id) == (1, LABEL.id)
    assert [task["id"] for task in server.tasks] == [1]


async def test_a_guess_that_the_import_has_lost_is_made_once_more() -> None:
    class Losing(Forgetful):
        guesses: ClassVar[list[tuple[int, str]]] = []

        async def call(self, method: str, path: str, *, params: Any = None, body: Any = None) -> Any:
            if method == "PATCH":
                return None
            if path == "/api/predictions/":
                self.guesses.append((body["task"], body["model_version"]))
                self.tasks[body["task"] - 1]["predictions"] = [body]
                return None
            if path.endswith("/import"):
                body = [{**task, "predictions": []} for task in body]
            return await super().call(method, path, params=params, body=body)

    server = Losing(forgets=False)
    wanted = replace(a_task("a"), guess=Guess("upper", 0.7, "corners-v3"))
    for _ in range(2):  # the second time as one who died in between is followed
        await a_studio(server).make_task("corners", wanted)
    assert server.guesses == [(1, "corners-v3")]
