"""Progress bars, where somebody watches."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
ShowProgress = Callable[[str, int | None], AbstractContextManager[Advance]]


def bars(console: Console) -> ShowProgress:
    """Bars on a console; nothing at all where that is no terminal."""

    @contextmanager
    def show(what: str, total: int | None) -> Iterator[Advance]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(what, total=total)
            yield lambda steps: progress.advance(task, steps)

    return show
