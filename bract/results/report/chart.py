"""A line chart as SVG, readable without colour and without a script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bract.results.report.html import escaped, show

Line = tuple[str, list[tuple[float, float]]]  # its name and its points
DASHES = ("none", "7 4", "2 3", "10 3 2 3", "14 4")  # with 6 colours: 30 lines, no two the same


@dataclass(frozen=True)
class Axes:
    """The ticks of both axes; they decide where a value is drawn."""

    xs: Sequence[float]
    ys: Sequence[float]
    score: str  # what is drawn over the other

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is drawn."""
        return 76 + 560 * x / self.xs[-1], 276 - 248 * (y - self.ys[0]) / (self.ys[-1] - self.ys[0])


def chart(title: str, lines: Sequence[Line], across: str, key: str, score: str) -> str:
    """Draw a score as lines that differ in colour and in dashes, with values and a legend in words."""
    points = [point for _, line in lines for point in line]
    if not points:
        return f"<h2>{title}</h2><p>No {score} has been measured yet.</p>"
    xs = _ticks(0, max(x for x, _ in points), 1)
    ys = _ticks(min(y for _, y in points), max(y for _, y in points), 0.01)
    axes = Axes(xs, ys, score)
    drawn, legend, said = _grid(axes, across, key), "", []
    for at, (name, line) in enumerate(lines):
        look = f'style="stroke:var(--l{at % 6});stroke-dasharray:{DASHES[at % len(DASHES)]}"'
        final = show(score, line[-1][1]) if line else "not measured"
        legend += '<span><svg viewBox="0 0 40 8" aria-hidden="true">'
        legend += f'<path class="line" d="M0 4H40" {look}/></svg>{escaped(name)}: {final}</span>'
        said.append(f"{escaped(name)}: {' '.join(show(score, y) for _, y in line) or final}")
        path = " ".join("{:.1f},{:.1f}".format(*axes.place(*point)) for point in line)
        drawn += f'<polyline class="line" {look} points="{path}"/>'
        for x, y in line:
            spot, value = axes.place(x, y), f"{escaped(name)}, {show(key, x)}: {show(score, y)}"
            drawn += f'<circle cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="3" style="fill:var(--l{at % 6})">'
            drawn += f"<title>{value}</title></circle>"
    drawn += _values(axes, lines[0][1]) if len(lines) == 1 else _ends(axes, lines)
    names = f'role="img" aria-labelledby="{key}-title {key}-desc"'
    told = f'<title id="{key}-title">{title}</title><desc id="{key}-desc">{"; ".join(said)}</desc>'
    image = f'<svg viewBox="0 0 700 324" {names}>{told}{drawn}</svg>'
    return f"<section><h2>{title}</h2><figure>{image}<figcaption>{legend}</figcaption></figure></section>"


def _grid(axes: Axes, across: str, key: str) -> str:
    """Lines at the ticks, with their values, and what the axes are."""
    drawn = ""
    for y in axes.ys:
        height = axes.place(0, y)[1]
        drawn += f'<path class="grid" d="M56 {height:.1f}H656"/>'
        drawn += _text(50, height + 4, show(axes.score, y), "end")
    drawn += "".join(_text(axes.place(x, 0)[0], 296, show(key, x)) for x in axes.xs)
    return drawn + _text(356, 318, across) + _text(8, 12, axes.score.capitalize(), "start")


def _values(axes: Axes, line: Sequence[tuple[float, float]]) -> str:
    """A value at every point of a line that has the chart to itself, or at every few."""
    drawn = ""
    for x, y in line[:: -math.ceil(len(line) / 12)]:
        drawn += _text(axes.place(x, y)[0], axes.place(x, y)[1] - 9, show(axes.score, y), kind="value")
    return drawn


def _ends(axes: Axes, lines: Sequence[Line]) -> str:
    """Last values in the right margin, where they hide no other line, none on another; the legend has them all."""
    drawn, floor = "", 0.0
    ends = [(*axes.place(*line[-1]), line[-1][1]) for _, line in lines if line]
    for left, height, y in sorted(ends, key=lambda end: end[1]):
        if left < 600:
            continue
        floor = max(height + 4, floor + 13)
        if floor < 284:
            drawn += _text(left + 8, floor, show(axes.score, y), "start", "value")
    return drawn


def _text(x: float, y: float, words: str, side: str = "middle", kind: str = "dim") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{side}" class="{kind}">{words}</text>\n'


def _ticks(low: float, high: float, least: float) -> list[float]:
    """Return at most eight round numbers, `least` apart or more, that enclose `low` and `high`."""
    size = 10.0 ** math.floor(math.log10(max(high - low, least)))
    step = next(s for s in (size / 5, size / 2, size, size * 2) if s >= least and (high - low) / s <= 6)
    last = max(1, math.ceil(high / step - 1e-9))
    return [at * step for at in range(min(last - 1, math.floor(low / step + 1e-9)), last + 1)]
