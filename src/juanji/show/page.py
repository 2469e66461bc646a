"""One self-contained page: sections of figures and tables in HTML, light or dark as the reader's screen is, as wide as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from juanji.show.embedded import POSITIVE
from juanji.show.theme import DARK, LIGHT

STYLE = f"""
:root {{ color-scheme: light dark; --paper: {LIGHT.background}; --ink: {LIGHT.ink}; --faint: #5d6875; --rule: #dde1e6; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: {DARK.background}; --ink: {DARK.ink}; --faint: #9aa4b0; --rule: #2c343f; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; }}
main {{ max-width: 68rem; margin: 0 auto; padding: 1.25rem; }}
h1 {{ font-size: 1.8rem; line-height: 1.2; margin: 0.5rem 0 1.25rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.3rem; margin: 2.75rem 0 0.25rem; padding-top: 0.75rem; border-top: 1px solid var(--rule); }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 0.5rem; overflow-wrap: anywhere; }}
p {{ margin: 0.25rem 0 1rem; max-width: 46rem; color: var(--faint); }}
figure {{ margin: 0; min-width: 0; }}
figcaption {{ font-size: 0.82rem; line-height: 1.35; color: var(--faint); margin-top: 0.3rem; overflow-wrap: anywhere; }}
figcaption b {{ color: var(--ink); font-weight: 600; }}
img, svg {{ display: block; width: 100%; height: auto; }}
.grid {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--least, 13rem)), 1fr)); }}
.answer {{ margin-top: 0; border: 0; padding: 0; }}
.crisp img {{ image-rendering: pixelated; }}
.two {{ display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); align-items: start; }}
.scroll {{ overflow-x: auto; }}
.bars {{ border-collapse: collapse; width: 100%; }}
.bars td {{ padding: 0.3rem 0; }}
.bars td:first-child {{ width: 100%; }}
.bars td + td {{ text-align: right; padding-left: 1rem; font-variant-numeric: tabular-nums; white-space: nowrap; vertical-align: top; }}
.bars i {{ display: block; height: 0.4rem; border-radius: 0.2rem; background: {POSITIVE}; min-width: 2px; }}
.layers {{ border-collapse: collapse; font-size: 0.82rem; white-space: nowrap; font-variant-numeric: tabular-nums; }}
.layers th, .layers td {{ text-align: right; padding: 0.25rem 0.75rem; border-bottom: 1px solid var(--rule); }}
.layers th:nth-child(-n+3), .layers td:nth-child(-n+3) {{ text-align: left; }}
.layers th:first-child, .layers td:first-child {{ position: sticky; left: 0; background: var(--paper); padding-left: 0; }}
details {{ margin: 0.75rem 0; }}
summary {{ cursor: pointer; font-weight: 600; padding: 0.35rem 0; }}
.over {{ position: relative; }}
.over img + img {{ position: absolute; inset: 0; height: 100%; }}
.over img:first-child:not(:last-child) {{ filter: grayscale(1) opacity(0.45); }}
svg text {{ fill: var(--ink); font: 12px system-ui, sans-serif; }}
svg .axis {{ stroke: var(--rule); }}
svg .line {{ fill: none; stroke: {POSITIVE}; stroke-width: 2.5; stroke-linejoin: round; }}
svg .dot {{ fill: {POSITIVE}; }}
footer {{ margin: 3rem 0 1rem; padding-top: 0.75rem; border-top: 1px solid var(--rule); font-size: 0.82rem; color: var(--faint); }}
"""


def page(title: str, language: str, parts: Iterable[str], foot: str, *, crisp: bool = False) -> str:
    """The whole file. crisp: whether pixels of pictures stay squares where they are enlarged."""
    tongue, body = {"zh": "zh-Hans"}.get(language, language), "\n".join(parts)
    main = "<main class=crisp>" if crisp else "<main>"
    return (
        f'<!DOCTYPE html>\n<html lang="{tongue}"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>{main}\n<h1>{escape(title)}</h1>\n{body}\n"
        f"<footer>{escape(foot)}</footer></main></body></html>\n"
    )


def section(title: str, note: str, *parts: str) -> str:
    """A heading, a sentence, and what follows."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(note)}</p>{''.join(parts)}</section>"


def figure(address: str, caption: str = "", *, over: str | None = None, bold: str = "", mark: str = "") -> str:
    """A picture with its caption; over: another that lies on it. bold, mark: what the caption begins and ends with."""
    images = f'<img src="{address}" alt="{escape(f"{bold} {caption}".strip())}">' + (f'<img src="{over}" alt="">' if over else "")
    strong, last = (f"<b>{escape(text)}</b>" if text else "" for text in (bold, mark))
    words = " ".join(part for part in (strong, escape(caption), last) if part)
    return f"<figure><div class=over>{images}</div>" + (f"<figcaption>{words}</figcaption>" if words else "") + "</figure>"


def grid(figures: Iterable[str], least: str = "13rem", *, crisp: bool = False) -> str:
    """Figures beside one another, as many as there is room for. least: how narrow one may get. crisp: pixels stay squares."""
    return f'<div class="grid{" crisp" if crisp else ""}" style="--least:{least}">{"".join(figures)}</div>'


def bars(rows: Sequence[tuple[str, float]]) -> str:
    """Shares of 1 by name, each with a bar."""
    lines = (
        f'<tr><td>{escape(name)}<i style="width:{share:.1%}"></i></td><td>{share:.1%}</td></tr>'
        for name, share in rows
    )  # fmt: skip
    return f"<table class=bars>{''.join(lines)}</table>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls sideways where it is too wide; its first column stays."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=scroll><table class=layers><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def folded(summary: str, body: str, *, open_: bool) -> str:
    """What a click shows."""
    return f"<details{' open' if open_ else ''}><summary>{escape(summary)}</summary>{body}</details>"


def chart(names: Sequence[str], values: Sequence[float], title: str) -> str:
    """A line through one value for each name, from 0."""
    width, height, left, right, top, bottom = 460, 240, 92, 16, 34, 72
    most = max([value for value in values if value == value], default=0) or 1.0
    step = (width - left - right) / max(len(names) - 1, 1)
    places = [(left + i * step, height - bottom - (height - top - bottom) * value / most) for i, value in enumerate(values)]
    known = [(x, y) for (x, y), value in zip(places, values, strict=True) if value == value]
    ticks = "".join(
        f'<line class=axis x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:.2g}</text>'
        for share in (0, 0.5, 1)
        for y in [height - bottom - (height - top - bottom) * share]
    )
    labels = "".join(
        f'<text transform="translate({x + 4:.1f} {height - bottom + 14}) rotate(-28)" text-anchor="end">{escape(name)}</text>'
        for (x, _), name in zip(places, names, strict=True)
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
    dots = "".join(f'<circle class=dot cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in known)
    head = f'<text x="{left}" y="16" font-weight="600">{escape(title)}</text>'
    drawn = f'{head}{ticks}<polyline class=line points="{line}"/>{dots}{labels}'
    return f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{drawn}</svg></figure>'


__all__ = ["bars", "chart", "figure", "folded", "grid", "page", "section", "table"]
