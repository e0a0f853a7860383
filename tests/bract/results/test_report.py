"""The page of a run folder, and of several."""

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bract.errors import BractError
from bract.results.report.pages import compare, mean_between, report

SETTINGS = 'rounds = 2\nstrategy.name = "fedit"\nlora.rank = 4\nlora.alpha = 16.0\nwire.codec = "float32"\n'
SUMMARY = {
    "strategy": "fedit",
    "rounds": 2,
    "accuracy": 0.8125,
    "loss": 0.61,
    "upload_bytes": 2_400_000,
    "download_bytes": 1_500_000,
    "seconds": 20.5,
    "epsilon": None,
    "delta": None,
    "adapter": "adapter",
    "versions": {"bract": "0.1.0", "flwr": "1.41.0"},
}


def at_round(number: int, accuracy: float | None, **others: Any) -> dict[str, Any]:
    trained = number > 0
    return {
        "round": number,
        "accuracy": accuracy,
        "loss": 1.25,
        "train_loss": 0.75 if trained else None,
        "clients": 2 * trained,
        "failed": 0,
        "abstained": 0,
        "upload_bytes": 1_200_000 * trained,
        "download_bytes": 750_000 * trained,
        "evaluate_bytes": 2048,
        "upload_values": 300 * trained,
        "epsilon": None,
        "seconds": 10.0 * trained,
    } | others


def of_client(number: int, partition: int, status: str = "merged", reason: str = "") -> dict[str, Any]:
    merged = status == "merged"
    return {
        "round": number,
        "partition": partition,
        "status": status,
        "reason": reason,
        "examples": 120 * merged,
        "steps": 8 * merged,
        "loss": 0.5 * merged,
        "seconds": 3.5 * merged,
        "busy": 4.5 * merged,
        "upload_bytes": 600_000,
        "upload_values": 150,
        "download_bytes": 375_000,
        "download_values": 150,
        "accuracy": 0.75 if merged else None,
        "held_out": 30 if merged else None,
    }


ROUNDS = (at_round(0, 0.25), at_round(1, 0.5), at_round(2, 0.8125))
CLIENTS = tuple(of_client(number, partition) for number in (1, 2) for partition in (0, 1))


def run_folder(
    folder: Path,
    settings: str = SETTINGS,
    rounds: Sequence[Mapping[str, Any]] = ROUNDS,
    clients: Sequence[Mapping[str, Any]] | None = CLIENTS,
    summary: Mapping[str, Any] | None = SUMMARY,
) -> Path:
    folder.mkdir()
    (folder / "settings.toml").write_text(settings)
    (folder / "rounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rounds))
    if clients is not None:
        (folder / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in clients))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


class Page(HTMLParser):
    """What a reader finds: key figures, tables by their headings, the charts' words, all tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.words.setdefault(tag, []).append("")
        if tag == "tr":
            self.tables.setdefault(self.words["h2"][-1], []).append([])
        if tag in ("td", "th"):
            self.tables[self.words["h2"][-1]][-1].append("")

    def handle_data(self, data: str) -> None:
        tag = self.tags[-1][0] if self.tags else ""
        if tag:
            self.words[tag][-1] += data.strip()
        if tag in ("td", "th"):
            self.tables[self.words["h2"][-1]][-1][-1] += data.strip()

    @property
    def figures(self) -> dict[str, str]:
        return dict(zip(self.words["dt"], self.words["dd"], strict=True))

    def column(self, table: str, head: str) -> list[str]:
        heads, *rows = self.tables[table]
        return [row[heads.index(head)] for row in rows]


def test_key_figures_and_title(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "first")
    assert report(folder) == folder / "report.html"
    page = Page(folder / "report.html")
    assert page.words["h1"] == ["fedit, final accuracy 81.2%"]
    assert page.figures == {
        "Strategy": "fedit",
        "Final accuracy": "81.2%",
        "Untrained start": "25.0%",
        "Rounds": "2",
        "Clients": "2",
        "Bytes up": "2.4 MB",
        "Bytes down": "1.5 MB",
        "Seconds": "20.5",
        "Privacy": "no differential privacy",
    }
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]


def test_tables_of_rounds_clients_and_versions(tmp_path: Path) -> None:
    page = Page(report(run_folder(tmp_path / "run")))
    assert page.column("Rounds", "Round") == ["0", "1", "2"]
    assert page.column("Rounds", "Accuracy") == ["25.0%", "50.0%", "81.2%"]
    assert page.column("Rounds", "Train loss") == ["–", "0.7500", "0.7500"]
    assert page.column("Rounds", "Upload bytes") == ["0 B", "1.2 MB", "1.2 MB"]
    assert page.column("Clients in round 2", "Partition") == ["0", "1"]
    assert page.column("Clients in round 2", "Held out") == ["30", "30"]
    assert page.tables["Versions"][1:] == [["bract", "0.1.0"], ["flwr", "1.41.0"]]
    assert "What went wrong" not in page.tables
    assert "Epsilon" not in page.tables["Rounds"][0]


def test_settings_that_differ_from_the_default_are_marked(tmp_path: Path) -> None:
    page = Page(report(run_folder(tmp_path / "run")))
    assert page.tables["Settings"][1:] == [
        ["rounds", "2", "default: 5"],
        ["strategy.name", "fedit", "default: ffa"],
        ["lora.rank", "4", "default: 8"],
        ["lora.alpha", "16.0", ""],
        ["wire.codec", "float32", ""],
    ]


def test_chart_has_one_point_per_measured_round_and_says_its_values(tmp_path: Path) -> None:
    rounds = (at_round(0, 0.25), at_round(1, None), at_round(2, 0.8125))
    page = Page(report(run_folder(tmp_path / "run", rounds=rounds)))
    assert [tag for tag, _ in page.tags].count("circle") == 2
    (points,) = [attrs["points"] for tag, attrs in page.tags if tag == "polyline"]
    (x0, y0), (x2, y2) = [tuple(map(float, pair.split(","))) for pair in (points or "").split()]
    assert x0 < x2
    assert y0 > y2
    assert page.words["desc"] == ["clients’ held-out examples: 25.0% 81.2%"]
    assert {"25.0%", "81.2%", "Round", "Accuracy"} <= set(page.words["text"])


def test_test_set_is_a_second_line_with_other_dashes(tmp_path: Path) -> None:
    rounds = [row | {"test_accuracy": 0.4 + row["round"] / 10, "test_loss": 1.0} for row in ROUNDS]
    page = Page(report(run_folder(tmp_path / "run", rounds=rounds)))
    assert page.figures["Test set accuracy"] == "60.0%"
    assert page.column("Rounds", "Test accuracy") == ["40.0%", "50.0%", "60.0%"]
    looks = [attrs["style"] for tag, attrs in page.tags if tag == "polyline"]
    assert looks == ["stroke:var(--l0);stroke-dasharray:none", "stroke:var(--l1);stroke-dasharray:7 4"]


def test_privacy_is_named(tmp_path: Path) -> None:
    rounds = [row | {"epsilon": row["round"] * 1.5} for row in ROUNDS]
    summary = SUMMARY | {"epsilon": 3.0, "delta": 1e-5}
    page = Page(report(run_folder(tmp_path / "run", rounds=rounds, summary=summary)))
    assert page.figures["Privacy"] == "ε = 3, δ = 1e-05"
    assert page.column("Rounds", "Epsilon") == ["0", "1.5", "3"]


def test_faults_of_all_rounds_are_listed_and_zeros_not_shown_as_measured(tmp_path: Path) -> None:
    clients = [
        of_client(1, 0, "failed", "out of memory"),
        of_client(1, 1),
        of_client(2, 0, "failed", "out of memory"),
        of_client(2, 1, "refused", "B has the wrong shape"),
        of_client(2, 2, "abstained", "no examples"),
    ]
    page = Page(report(run_folder(tmp_path / "run", clients=clients)))
    assert page.tables["What went wrong"][1:] == [
        ["0", "failed", "out of memory", "1, 2"],
        ["1", "refused", "B has the wrong shape", "2"],
    ]
    assert page.column("Clients in round 2", "Partition") == ["0", "1", "2"]
    assert page.column("Clients in round 2", "Status") == ["failed", "refused", "abstained"]
    assert "Loss" not in page.tables["Clients in round 2"][0]


def test_what_clients_write_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>\"><img src=x onerror=y> \ud800 \u202e \x00 & " + "long " * 500
    clients = [of_client(2, 0, "refused", evil), of_client(2, 1, "<b>odd</b>")]
    versions = {"versions": {"<i>name</i>": "<script>2</script>"}}
    settings = SETTINGS + "data.text = '</style><script>3</script>'\n"
    folder = run_folder(tmp_path / "<u>run", settings, clients=clients, summary=SUMMARY | versions)
    page = Page(report(folder))
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page.source
    assert not {"script", "img", "b", "i", "u"} & {tag for tag, _ in page.tags}
    assert not re.search("<script", page.source, re.IGNORECASE)
    (reason,) = page.column("What went wrong", "Reason")
    assert len(reason) <= 401
    assert reason.endswith("…")
    assert not {"\u202e", "\x00"} & set(reason)


def test_page_needs_nothing_else(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    for path in (report(folder), compare([folder, folder], tmp_path / "all.html")):
        page = Page(path)
        assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
        assert not {"src", "href"} & {name for _, attrs in page.tags for name in attrs}
        assert not re.search(r"https?:|@import|url\(", page.source)
        assert all(attrs.get("scope") in ("row", "col") for tag, attrs in page.tags if tag == "th")
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        charts = [attrs for _, attrs in page.tags if attrs.get("role") == "img"]
        named = " ".join(chart["aria-labelledby"] or "" for chart in charts).split()
        assert charts
        assert sorted(named) == sorted(str(name) for name in ids)


def test_unfinished_run_is_reported_so_far(tmp_path: Path) -> None:
    page = Page(report(run_folder(tmp_path / "run", rounds=ROUNDS[:2], clients=None, summary=None)))
    assert page.words["h1"] == ["fedit, unfinished, accuracy 50.0% so far"]
    assert "This run is unfinished: it has written no summary." in page.words["p"]
    assert page.figures["Rounds"] == "1 of 2, unfinished"
    assert page.figures["Clients"] == "2"
    assert page.figures["Bytes up"] == "1.2 MB"
    assert page.figures["Seconds"] == "10.0"


def test_run_without_any_round(tmp_path: Path) -> None:
    page = Page(report(run_folder(tmp_path / "run", rounds=(), clients=None, summary=None)))
    assert page.words["h1"] == ["fedit, unfinished, accuracy not measured"]
    assert "No accuracy has been measured yet." in page.words["p"]
    assert page.figures["Rounds"] == "– of 2, unfinished"


def test_summary_from_before_a_resume_does_not_count(tmp_path: Path) -> None:
    rounds = (*ROUNDS, at_round(3, 0.875))
    page = Page(report(run_folder(tmp_path / "run", rounds=rounds)))
    assert page.words["h1"] == ["fedit, unfinished, accuracy 87.5% so far"]


def test_round_that_was_repeated_counts_once(tmp_path: Path) -> None:
    rounds = (ROUNDS[0], at_round(1, 0.3), ROUNDS[1])
    page = Page(report(run_folder(tmp_path / "run", rounds=rounds, summary=None)))
    assert page.column("Rounds", "Accuracy") == ["25.0%", "50.0%"]
    assert page.figures["Bytes up"] == "1.2 MB"


def test_last_line_that_was_cut_short_is_ignored(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", rounds=ROUNDS[:2], summary=None)
    for name in ("rounds.jsonl", "clients.jsonl"):
        with (folder / name).open("ab") as file:
            file.write('{"round": 2, "reason": "é'.encode()[:-1])
    page = Page(report(folder))
    assert page.column("Rounds", "Round") == ["0", "1"]


def test_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    lines = (folder / "rounds.jsonl").read_text().splitlines()
    (folder / "rounds.jsonl").write_text("\n".join([lines[0], lines[1][:20], lines[2]]))
    with pytest.raises(BractError, match=r"rounds\.jsonl, line 2: should be a JSON object"):
        report(folder)


@pytest.mark.parametrize("missing", ["settings.toml", "rounds.jsonl"])
def test_not_a_run_folder(tmp_path: Path, missing: str) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / missing).unlink()
    with pytest.raises(BractError, match=f"run is not a run folder: it has no {missing}$"):
        report(folder)
    assert not (folder / "report.html").exists()
    with pytest.raises(BractError, match="nowhere is not a run folder"):
        compare([tmp_path / "nowhere"], tmp_path / "all.html")
    with pytest.raises(BractError, match="nothing to compare"):
        compare([], tmp_path / "all.html")
    assert not (tmp_path / "all.html").exists()


def test_settings_that_are_no_toml(tmp_path: Path) -> None:
    with pytest.raises(BractError, match=r"settings\.toml or summary\.json cannot be read"):
        report(run_folder(tmp_path / "run", settings="rounds = "))


def test_compare_shows_results_and_only_the_settings_that_differ(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "first")
    other = SETTINGS.replace('"fedit"', '"ffa"') + 'data.text = "words"\n'
    second = run_folder(tmp_path / "second", other, rounds=ROUNDS[:2], summary=None)
    target = tmp_path / "out" / "all.html"
    assert compare([first, second], target) == target
    page = Page(target)
    assert page.column("Results", "Run") == ["first", "second"]
    assert page.column("Results", "Strategy") == ["fedit", "ffa"]
    assert page.column("Results", "Final accuracy") == ["81.2%", "50.0% so far"]
    assert page.column("Results", "Bytes up") == ["2.4 MB", "1.2 MB"]
    assert page.column("Results", "Bytes down") == ["1.5 MB", "750 kB"]
    assert page.column("Results", "Seconds") == ["20.5", "10.0"]
    assert page.tables["Settings that differ"] == [
        ["Setting", "first", "second"],
        ["strategy.name", "fedit", "ffa"],
        ["data.text", "–", "words"],
    ]


def test_compare_draws_a_line_per_run_over_rounds_and_over_bytes(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / name) for name in ("first", "second")]
    page = Page(compare(runs, tmp_path / "all.html"))
    assert page.words["h2"][:2] == ["Accuracy by round", "Accuracy by bytes sent"]
    looks = [attrs["style"] for tag, attrs in page.tags if tag == "polyline"]
    assert len(looks) == 4
    assert looks[:2] == looks[2:]
    assert looks[0] != looks[1]
    assert "first, 3.9 MB: 81.2%" in page.words["title"]  # (1.2 + 0.75) MB in each of two rounds
    assert "first, 0 B: 25.0%" in page.words["title"]


def test_compare_tells_runs_of_one_name_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
    runs = [run_folder(tmp_path / parent / "run") for parent in ("a", "b")]
    page = Page(compare(runs, tmp_path / "all.html"))
    assert page.column("Results", "Run") == [str(run.resolve()) for run in runs]
    assert page.words["p"][-1] == "None."


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_chart_of_one_value_stays_between_nothing_and_all(tmp_path: Path, accuracy: float) -> None:
    page = Page(report(run_folder(tmp_path / "run", rounds=[at_round(0, accuracy)], summary=None)))
    ticks = [float(text[:-1]) for text in page.words["text"] if text.endswith("%")]
    assert min(ticks) >= 0
    assert max(ticks) <= 100


def test_long_run_has_room_for_its_labels(tmp_path: Path) -> None:
    rounds = [at_round(number, 0.5 + number / 1000) for number in range(201)]
    page = Page(report(run_folder(tmp_path / "run", rounds=rounds, summary=None)))
    values = [attrs for tag, attrs in page.tags if tag == "text" and attrs["class"] == "value"]
    assert len(values) <= 12
    assert "70.0%" in page.words["text"]


def test_the_report_compares_clients(simulate):
    folder, _ = simulate({"strategy.name": "lora-a2", "lora.rank": 4, "rounds": 2})
    page = (folder.path / "report.html").read_text()
    assert "Clients compared" in page
    assert "Overlap of slots" in page
    assert "Similarity of A’s changes" in page


def test_the_mean_between_clients() -> None:
    assert mean_between([[1.0, 0.5], [0.5, 1.0]]) == 0.5
    assert mean_between([[1.0]]) is None
