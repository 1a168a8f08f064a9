"""The figures of two policies as bars: an SVG, or lines of text."""

from collections.abc import Sequence
from html import escape

from softbounce.simulate import Row, Span

LEFT, WIDTH, BAR = 170, 360, 14
SHADES = (("#2a6f97", "A"), ("#e09f3e", "B"))


def svg(rows: Sequence[Row], *, title: str) -> str:
    """Return two bars for each row, as long as the row's largest figure allows; thin where it is a range."""
    drawn = [f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>']
    for place, row in enumerate(rows):
        top = 36 + place * (2 * BAR + 14)
        most = max(row.a.high, row.b.high) or 1
        label = f"{row.title}, {row.label}"
        drawn.append(f'<text x="{LEFT - 8}" y="{top + BAR + 4}" text-anchor="end">{label}</text>')
        for number, (span, (colour, name)) in enumerate(zip((row.a, row.b), SHADES, strict=True)):
            y = top + number * BAR
            low, more = WIDTH * float(span.low / most), WIDTH * float((span.high - span.low) / most)
            end, text = LEFT + low + more + 6, f"{name} {words(span, exact=row.exact)}"
            drawn.append(
                f'<rect x="{LEFT}" y="{y}" width="{low:.1f}" height="{BAR - 2}" fill="{colour}"/>'
                f'<rect x="{LEFT + low:.1f}" y="{y + 4}" width="{more:.1f}" height="4" fill="{colour}"/>'
                f'<text x="{end:.1f}" y="{y + 11}">{text}</text>'
            )
    tall = 40 + len(rows) * (2 * BAR + 14)
    wide = LEFT + WIDTH + 130
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" font-family="sans-serif" '
        f'font-size="11" fill="#333"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(drawn)}</svg>\n"
    )


def bars(rows: Sequence[Row], *, width: int = 50) -> list[str]:
    """Return two lines of text a row, as long as its largest figure allows; light where it is a range."""
    lines = []
    for row in rows:
        most = max(row.a.high, row.b.high) or 1
        for name, span in (("A", row.a), ("B", row.b)):
            low, high = (round(width * float(end / most)) for end in (span.low, span.high))
            title = row.title if name == "A" else ""
            lines.append(f"{title:22} {name} {'█' * low}{'░' * (high - low)}".rstrip())
    return lines


def words(span: Span, *, exact: bool, sign: str = "") -> str:
    """Return ``1,065 - 1,082``, or one number where it is exact; ``sign`` "+" marks increases."""
    low, high = (f"{end:{sign},}" if end else "0" for end in (span.low, span.high))
    return low if exact else f"{low} - {high}" if not sign else f"{low} to {high}"
