"""The documentation: no dead link, no dead anchor, no path that is not there, and a site that asks no other machine."""

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)")
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
PLACES = r"bract|client_app|server_app|strategies|docs|docker|benchmarks|tests|\.ci|\.github"
PATH = re.compile(rf"(?:{PLACES})/[\w./-]*")
HISTORY = {"CHANGELOG.md"}  # it may name what is gone


def prose(text):
    """What is no code."""
    return CODE.sub("", FENCE.sub("", text))


def links(text):
    return [target for target in LINK.findall(prose(text)) if not re.match(r"[a-z]+:", target)]


def anchors(text):
    """The headings' anchors, by GitHub's rule and by the site's; a link should work in both."""
    github, site = set(), set()
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        github.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
        plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
        site.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip()))
    return github & site


def dead_links(page):
    found = []
    for target in links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (
            anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8"))
        ):
            found.append(target)
    return found


def named_paths(text):
    """Words in code, also in commands, that look like paths of the project."""
    code = [*(inner for _, inner in CODE.findall(FENCE.sub("", text))), *(m.group() for m in FENCE.finditer(text))]
    return {word.split("::")[0] for part in code for word in part.split() if PATH.fullmatch(word.split("::")[0])}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page):
    assert dead_links(page) == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in HISTORY], ids=lambda page: page.name)
def test_every_path_that_is_named_is_there(page):
    assert [path for path in sorted(named_paths(page.read_text(encoding="utf-8"))) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_a_page_of_the_site_links_to_pages_of_the_site_alone(page):
    outside = [t for t in links(page.read_text(encoding="utf-8")) if t.startswith(("/", "../"))]
    assert outside == []


def test_every_page_stands_in_the_navigation():
    listed = set(re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


@pytest.mark.parametrize(
    ("link", "dead"),
    [
        ("[x](b.md)", False),
        ("[x](b.md#two-words)", False),
        ("[x](#here)", False),
        ("[x](https://example.org/none)", False),
        ("`[x](none.md)`", False),
        ("```text\n[x](none.md)\n```", False),
        ("[x](none.md)", True),
        ("[x](b.md#none)", True),
        ("[x](#none)", True),
        ("[![x](none.svg)](b.md)", True),
        ("[x](b.md#a--b)", True),  # GitHub's, not the site's
    ],
)
def test_a_dead_link_is_noticed(tmp_path, link, dead):
    (tmp_path / "a.md").write_text(f"# Here\n\n{link}\n")
    (tmp_path / "b.md").write_text("# B\n\n## Two `words`!\n\n## A & b\n\n```bash\n# none\n```\n")
    assert bool(dead_links(tmp_path / "a.md")) == dead


def test_paths_are_found_in_words_and_in_commands():
    text = "`strategies/ffa.py`, `python benchmarks/x.py --only a/b`, `tests/x.py::test_y`\n\n```bash\n.ci/run\n```\n"
    found = {"strategies/ffa.py", "benchmarks/x.py", "tests/x.py", ".ci/run"}
    assert named_paths(text + "docs/prose.md `strategies/NAME` `and/or` `bract run`") == {*found, "strategies/NAME"}


def test_the_site_builds_and_asks_no_other_machine_for_anything(tmp_path, monkeypatch):
    pytest.importorskip("material", reason="the documentation's tools are not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"?((?:https?:)?//[^\" >]*)", page.read_text()
        )
        assert fetched == [], page
    assert "url(http" not in "".join(style.read_text() for style in tmp_path.rglob("*.css"))
