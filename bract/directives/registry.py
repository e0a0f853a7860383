"""The directives that this version knows, and how they are written in a plan."""

import operator
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from bract.directives.directive import Directive, Scope
from bract.directives.personal import PersonalPhase
from bract.directives.prune import Prune
from bract.directives.select import Select
from bract.errors import BractError

DIRECTIVES: dict[str, type[Directive]] = {kind.name: kind for kind in (Select, Prune, PersonalPhase)}


def written(directives: Sequence[Directive]) -> list[dict[str, Any]]:
    """As a plan carries them."""
    return [{"name": directive.name, **asdict(directive)} for directive in directives]


def parsed(value: Sequence[dict[str, Any]]) -> tuple[Directive, ...]:
    """What `written` wrote. An unknown name is a BractError; what is malformed raises as its conversion does."""
    return tuple(_parsed(dict(one)) for one in value)


def require_fit(directives: Sequence[Directive], scope: Scope) -> None:
    """Raise BractError if a directive is doubled, contradicts another or is more than the plan can ask for."""
    names = [directive.name for directive in directives]
    if len(set(names)) < len(names):
        raise BractError(f"the plan names a directive twice: {', '.join(names)}")
    deciding = [directive.name for directive in directives if directive.decides_slots]
    if len(deciding) > 1:
        raise BractError(f"the plan's directives contradict each other: {' and '.join(deciding)} both decide on slots")
    for directive in directives:
        directive.check(scope)


def _parsed(value: dict[str, Any]) -> Directive:
    name = str(value.pop("name"))
    if name not in DIRECTIVES:
        raise BractError(
            f"the plan asks for the directive {name!r:.40}, which this version does not know; it knows "
            f"{', '.join(DIRECTIVES)}: install the server's version of Bract"
        )
    kind = DIRECTIVES[name]
    known = {field.name: field.type for field in fields(kind)}
    if set(value) != set(known):
        raise ValueError(f"{name} should have {', '.join(known)}")
    return kind(**{key: _converted(known[key], value[key]) for key in known})


def _converted(kind: Any, value: Any) -> Any:
    """A field's value of its own type: numbers are not text, and whole numbers not fractions."""
    if kind is int:
        return operator.index(value)
    if kind is float:
        return float.__float__(float(value) if isinstance(value, int) else value)
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError("should be true or false")
        return value
    if not isinstance(value, str):
        raise TypeError("should be text")
    return value  # which words there are, the directive checks
