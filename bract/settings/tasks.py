"""The list of tasks that a model can be trained for: a new one is a file in `bract/tasks` and a line here."""

# By `model.task`: where its object is.
TASKS: dict[str, str] = {
    "classify": "bract.tasks.classification:CLASSIFICATION",
}


def names() -> tuple[str, ...]:
    """All tasks' names, in the list's order."""
    return tuple(TASKS)
