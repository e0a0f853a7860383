"""What does a byte buy? Places of the board as points, accuracy over bytes sent up, as an SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#1b6ca8", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0f766e", "#a16207", "#475569")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 460, 60, 24, 190, 52


@dataclass(frozen=True)
class Point:
    """A place: its method, and what it is in words."""

    method: str
    words: str
    bytes_up: float
    accuracy: float


def figure(title: str, points: Sequence[Point]) -> str:
    """Bytes on a logarithmic axis; the words of a point are its tooltip."""
    methods = sorted({point.method for point in points})
    low = math.floor(math.log10(min(point.bytes_up for point in points)) * 2) / 2
    high = math.ceil(math.log10(max(point.bytes_up for point in points)) * 2) / 2
    floor = math.floor(min(point.accuracy for point in points) * 10) / 10

    def place(point: Point) -> tuple[float, float]:
        x = LEFT + (math.log10(point.bytes_up) - low) / max(high - low, 0.5) * (WIDTH - LEFT - RIGHT)
        return x, TOP + (1 - point.accuracy) / (1 - floor) * (HEIGHT - TOP - BOTTOM)

    shape = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape}>',
        f"<title>{escape(title)}: test accuracy over bytes that all clients sent up in the whole run</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for step in range(round((1 - floor) * 10) + 1):
        y = TOP + step / ((1 - floor) * 10) * (HEIGHT - TOP - BOTTOM)
        drawn.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{1 - step / 10:.1f}</text>')
    for half in range(round((high - low) * 2) + 1):
        power = low + half / 2
        x = LEFT + (power - low) / max(high - low, 0.5) * (WIDTH - LEFT - RIGHT)
        drawn.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        megabytes = f"{10 ** (power - 6):.3g}"
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{megabytes}</text>')
    middle, words = (LEFT + WIDTH - RIGHT) / 2, "MB sent up by all clients, whole run"
    drawn.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{words}</text>')
    drawn.append(f'<text x="{LEFT}" y="14">test accuracy; {escape(title)}</text>')
    for point in points:
        x, y = place(point)
        colour = COLOURS[methods.index(point.method) % len(COLOURS)]
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.8">'
            f"<title>{escape(point.words)}: {point.accuracy:.3f}, {point.bytes_up / 1e6:.2f} MB</title></circle>"
        )
    for i, method in enumerate(methods):
        y = TOP + 16 + 20 * i
        drawn.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{y - 4}" r="5" fill="{COLOURS[i % len(COLOURS)]}"/>')
        drawn.append(f'<text x="{WIDTH - RIGHT + 32}" y="{y}">{escape(method)}</text>')
    return "\n".join([*drawn, "</svg>\n"])
