"""How a setting is declared: its default, its bounds and what it means."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, StrictFloat, StrictStr

from bract.settings import methods, tasks
from bract.settings.flat import Value

T = TypeVar("T")


def setting(
    default: T,
    since: str,
    help: str,  # noqa: A002 - the word argparse and dataclasses' users know
    *,
    example: Value,
    low: float | None = None,
    high: float | None = None,
    pattern: str | None = None,
    form: str = "",
) -> T:
    """A field that knows its own bounds; `since` is a version, and `form` says in words what a `pattern` accepts."""
    whole: Any = None if pattern is None else re.compile(rf"\A(?:{pattern})\Z")  # typed as text; takes both
    more: Any = {"since": since, "form": form}
    return Field(
        default=default, description=help, examples=[example], ge=low, le=high, pattern=whole, json_schema_extra=more
    )


@dataclass(frozen=True)
class _InTheList:
    """Adds a list's names to a key's description: the list of today, not of when this was imported."""

    names: Callable[[], tuple[str, ...]]

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "enum": list(self.names())}

    def check(self, name: str) -> str:
        """The name, if it is one of them."""
        if name not in self.names():
            raise ValueError("not in the list")
        return name


_METHOD, _TASK = _InTheList(methods.names), _InTheList(tasks.names)


def _as_text(value: object) -> object:
    return str(value) if type(value) in (int, float) else value


# Text is no number, true is none, and neither NaN nor infinity is one either.
Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]
MethodName = Annotated[StrictStr, AfterValidator(_METHOD.check), _METHOD]
TaskName = Annotated[StrictStr, AfterValidator(_TASK.check), _TASK]
Written = Annotated[StrictStr, BeforeValidator(_as_text)]  # federation.ranks = 4 means what "4" does
