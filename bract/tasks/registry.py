"""The task that `model.task` names."""

from importlib import import_module

from bract.errors import BractError
from bract.settings.tasks import TASKS
from bract.tasks.task import Task


def task_of(name: str) -> Task:
    """The task's object, loaded when it is first asked for."""
    if name not in TASKS:
        raise BractError(f"model.task = {name!r:.40}: this version knows {', '.join(TASKS)}")
    module, _, attribute = TASKS[name].partition(":")
    task: Task = getattr(import_module(module), attribute)
    return task
