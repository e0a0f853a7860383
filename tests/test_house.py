"""The house's shape: who may import whom, no circles, few floors. Imports inside functions and for types count too."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT: Mapping[str, set[str]] = {
    "bract": set(),
    "strategies": {"bract"},
    "client_app": {"bract"},
    "server_app": {"bract", "strategies"},
}
ROOMS = sorted(MAY_IMPORT)
FLOORS = 5
HEAVY = {"torch", "transformers", "peft"}
MAY_BE_HEAVY = ("bract/batching.py", "bract/models/", "bract/tasks/", "client_app/", "server_app/evaluation.py")

Graph = Mapping[str, set[str]]


@cache
def imports(path: Path) -> frozenset[str]:
    """All that a file imports: modules, and what might be a module in a package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}, line {node.lineno}: imports are absolute here"
            assert not node.level, f"{path}, line {node.lineno}: imports are absolute here"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def files(place: Path) -> Iterator[Path]:
    """A room's files; of `__init__.py` those that do more than to say what lives there."""
    return (path for path in sorted(place.rglob("*.py")) if path.name != "__init__.py" or _has_code(path))


def _has_code(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def packages(*rooms: str) -> list[Path]:
    """Rooms and all sub-packages in them."""
    return [path.parent for room in rooms for path in sorted((ROOT / room).rglob("__init__.py"))]


def named(path: Path) -> str:
    """A module's name; a package's is that of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def between_files() -> Graph:
    """Which of the project's files each of them imports."""
    paths = {named(path): path for room in (*ROOMS, "benchmarks") for path in files(ROOT / room)}
    return {name: set(imports(path)) & paths.keys() for name, path in paths.items()}


def between_children(package: Path) -> Graph:
    """Which of a package's direct children, sub-packages and modules, each of them imports."""
    inside = named(package) + "."
    within = (name for name in between_files() if name.startswith(inside))
    child = {name: inside + name.removeprefix(inside).split(".")[0] for name in within}
    graph: dict[str, set[str]] = {top: set() for top in child.values()}
    for name, top in child.items():
        graph[top] |= {child[other] for other in between_files()[name] if other in child} - {top}
    return graph


def circle(graph: Graph) -> str:
    """A circle, in the order of importing; nothing if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def floors(graph: Graph) -> dict[str, int]:
    """Each node's floor: one above the highest that it imports."""
    floor: dict[str, int] = {}
    for node in TopologicalSorter(graph).static_order():
        floor[node] = 1 + max((floor[other] for other in graph[node]), default=0)
    return floor


def stairs(graph: Graph) -> str:
    """The longest way down, from the highest floor."""
    floor = floors(graph)
    way = [max(floor, key=lambda node: floor[node])]
    while below := graph[way[-1]]:
        way.append(max(sorted(below), key=lambda node: floor[node]))
    return " -> ".join(way)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        rooms = {name.split(".")[0] for name in imports(path)} & MAY_IMPORT.keys()
        assert rooms <= MAY_IMPORT[room] | {room}, path


def test_no_circle_among_files() -> None:
    found = circle(between_files())
    assert not found


@pytest.mark.parametrize("package", packages(*ROOMS, "benchmarks"), ids=named)
def test_no_circle_among_a_package_s_children(package: Path) -> None:
    found = circle(between_children(package))
    assert not found


@pytest.mark.parametrize("package", packages(*ROOMS), ids=named)
def test_few_floors(package: Path) -> None:
    graph = between_children(package)
    assert not circle(graph), "there are no floors in a circle"
    highest = max(floors(graph).values(), default=0)
    assert highest <= FLOORS, stairs(graph)


def test_circles_and_floors_are_found() -> None:
    graph: Graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"d"}, "d": set()}
    assert floors(graph) == {"d": 1, "c": 2, "b": 3, "a": 4}
    assert stairs(graph) == "a -> b -> c -> d"
    assert not circle(graph)
    assert circle({**graph, "d": {"a"}})


@pytest.mark.parametrize("package", packages(*ROOMS), ids=named)
def test_a_package_says_in_a_line_what_lives_there(package: Path) -> None:
    words = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    line, _, more = words.partition("\n")
    assert line.endswith(".")
    assert not more or more.startswith("\n"), "what follows the line stands apart"


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_of_code_is_a_package(room: str) -> None:
    for path in files(ROOT / room):
        assert (path.parent / "__init__.py").is_file(), path


@pytest.mark.parametrize("room", ROOMS)
def test_torch_is_known_where_models_and_data_meet_alone(room: str) -> None:
    for path in files(ROOT / room):
        if not path.relative_to(ROOT).as_posix().startswith(MAY_BE_HEAVY):
            assert not {name.split(".")[0] for name in imports(path)} & HEAVY, path


@pytest.mark.parametrize("module", ["server_app.app", "client_app.app", "bract.cli.main"])
def test_what_is_loaded_first_loads_no_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit(' '.join({HEAVY} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_no_pickle(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert not imports(path) & {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}, path
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, path
        assert "torch.load" not in text, path
