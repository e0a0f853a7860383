"""The parts of a page: what is written, and how it looks. All text from elsewhere is escaped."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]
NONE, LONGEST = "–", 400  # what is not known; how many characters of a text from a file are shown
SPECS = {
    "accuracy": ".1%",
    "accuracy_margin": ".1%",
    "loss": ".4f",
    "seconds": ",.1f",
    "busy": ",.1f",
    "epsilon": ".3g",
}
# The lines' hues are Okabe and Ito's, moved to a contrast of 4.5 or more on either ground.
STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1c2024;--dim:#5a636b;--rule:#d9dee2;--l0:#0072b2;--l1:#c04f00;
 --l2:#007a58;--l3:#a8437f;--l4:#5c5c5c;--l5:#806600}
@media screen and (prefers-color-scheme:dark){:root{--bg:#14181b;--ink:#e6e9eb;--dim:#9aa5ad;--rule:#343b41;
 --l0:#63b8f0;--l1:#ff9147;--l2:#35cfa2;--l3:#ee9fcd;--l4:#c8c8c8;--l5:#eedd55}}
body{margin:0 auto;max-width:62rem;padding:2.5rem 1.25rem;background:var(--bg);color:var(--ink);
 font:1rem/1.5 system-ui,sans-serif}h1,h2,p,dd{overflow-wrap:anywhere}
h1{font-size:1.75rem;line-height:1.2;margin:0}h2{font-size:1.125rem;margin:2.5rem 0 .75rem}
.sub,dt,thead th{color:var(--dim)}.sub{margin:.25rem 0 1.5rem}
.note{border-left:3px solid var(--l1);padding:.25rem .75rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:1rem 1.5rem;margin:0}
dt{font-size:.8125rem}dd{margin:0;font-size:1.25rem}dd,table,svg{font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}table{border-collapse:collapse;min-width:50%;font-size:.875rem}
th,td{padding:.3rem 1rem .3rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);
 font-weight:400}thead th{vertical-align:bottom}.n{text-align:right}
td.n,th[scope=row]{white-space:nowrap}
section[class=settings] tr:has(td:last-child:not(:empty))>*{font-weight:650}
figure{margin:0;overflow-x:auto}figure>svg{min-width:34rem}
figcaption{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif;fill:var(--ink)}
figcaption span{display:flex;gap:.5rem;align-items:center;font-size:.875rem}figcaption svg{width:2.5rem}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.grid{stroke:var(--rule)}.dim{fill:var(--dim)}
.value{font-weight:600;paint-order:stroke;stroke:var(--bg);stroke-width:3px}
@media print{body{max-width:none;padding:0;font-size:10pt}figure,tr,dl{break-inside:avoid}
 h2{break-after:avoid}.wide{overflow:visible}table{font-size:7.5pt}th,td{padding-right:.5em}}
"""


def show(key: str, value: Any) -> str:
    """Write a figure as people read it; the end of its key says what it counts."""
    if isinstance(value, str) or not isinstance(value, int | float):
        return value if isinstance(value, str) else NONE
    if key.endswith("bytes"):
        power = next((k for k in range(4) if value < 999.5 * 1000**k), 4)
        return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
    whole = ",.0f" if float(value).is_integer() or abs(value) >= 1000 else ".4g"
    return format(value, next((spec for end, spec in SPECS.items() if key.endswith(end)), whole))


def as_text(value: Any) -> str:
    """A string as it is, anything else as JSON."""
    return value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def escaped(text: str) -> str:
    """Make HTML that is only text, whatever it holds; what cannot be printed is made visible."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST])
    return escape(shown + "…" * (len(text) > LONGEST))


def page(title: str, below: str, body: str) -> str:
    """A whole page. Its policy lets a browser run and fetch nothing."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{STYLE}</style></head>
<body><main><h1>{escaped(title)}</h1><p class="sub">{escaped(below)}</p>{body}</main></body></html>
"""


def grid(keys: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Make heads and cells of a table of rows, without the keys of which nothing is known."""
    known = [key for key in keys if any(row.get(key) is not None for row in rows)]
    cells = [[show(key, row.get(key)) for key in known] for row in rows]
    return [key.replace("_", " ").capitalize() for key in known], cells


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 0) -> str:
    """Make a table under its title, or nothing if it has no rows; after `words` columns come numbers."""
    kinds = ["w" if at < words else "n" for at in range(len(heads))]
    head = "".join(f'<th scope="col" class="{k}">{escaped(h)}</th>' for k, h in zip(kinds, heads, strict=True))
    lines = ""
    for first, *others in rows:
        cells = "".join(f'<td class="{k}">{escaped(cell)}</td>' for k, cell in zip(kinds[1:], others, strict=True))
        lines += f'<tr><th scope="row" class="{kinds[0]}">{escaped(first)}</th>{cells}</tr>\n'
    inner = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{lines}</tbody></table>"
    begin = f'<section class="{escaped(title.lower())}"><h2>{escaped(title)}</h2><div class="wide">'
    return f"{begin}{inner}</div></section>" if rows else ""
