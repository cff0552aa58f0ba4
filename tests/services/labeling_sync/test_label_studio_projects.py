"""Label Studio that makes two projects of one request, which the real one does only now and then."""

from typing import Any, cast

from services.labeling_sync.adapters.label_studio import Http, LabelStudio, ServedPictures
from tests.services.labeling_sync.real import a_card


class Doubling:
    """Keeps projects; makes `copies` of each that is asked for. Answers with the last one made, as the real one may."""

    def __init__(self, copies: int) -> None:
        self.projects: dict[int, dict[str, Any]] = {}
        self._copies = copies

    async def call(self, method: str, path: str, *, params: Any = None, body: Any = None) -> Any:
        if method == "POST":
            for _ in range(self._copies):
                id_ = len(self.projects) + 1
                self.projects[id_] = {"id": id_, "title": body["title"], "task_number": 0}
            return self.projects[id_]
        if method == "DELETE":
            return self.projects.pop(int(path.rstrip("/").rsplit("/", 1)[1]))
        assert (method, path) == ("GET", "/api/projects/")
        return {"results": [one for one in reversed(self.projects.values()) if params["title"] in one["title"]]}


async def test_of_two_projects_that_one_request_made_one_is_left() -> None:
    server = Doubling(copies=2)
    studio = LabelStudio(cast(Http, server), cast(ServedPictures, None))
    other = await studio.create_project(a_card("solar-2"))
    made = await studio.create_project(a_card("solar"))
    assert [one["title"] for one in server.projects.values()] == ["loopline:solar-2", "loopline:solar"]
    assert (await studio.find_project("solar"), await studio.find_project("solar-2")) == (made, other)
    assert {other, made} == set(server.projects)


async def test_the_second_project_that_one_who_died_left_behind_is_deleted() -> None:
    server = Doubling(copies=2)
    await server.call("POST", "/api/projects/", body={"title": "loopline:solar"})
    made = await LabelStudio(cast(Http, server), cast(ServedPictures, None)).create_project(a_card("solar"))
    assert set(server.projects) == {made}
