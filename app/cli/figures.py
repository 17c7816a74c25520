"""Numbers as people read them, and tables of them."""

from collections.abc import Sequence

from app.cli.output import Screen, plain

WIDEST = 40
"""A name may be as long as its file likes; the columns of the others stay where they are."""
_WHOLE = 999_999.5
_EXACT = 1e15


def figure(value: object) -> str:
    """Returns a number with six significant digits, or all that stand before its point; `-` when there is none."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return plain(str(value))
    if abs(value) < _EXACT and (value.is_integer() or abs(value) >= _WHOLE):
        return f"{value + 0.0:.0f}"
    return f"{value:.6g}"


def word(value: object) -> str:
    """Returns text; `-` when there is none."""
    return "-" if value in (None, "") else plain(str(value))


def share(value: object) -> str:
    """Returns a fraction in percent; `-` when there is none."""
    return f"{100 * value:.1f}%" if isinstance(value, int | float) else "-"


def table(screen: Screen, headings: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ()) -> None:
    """Writes aligned columns, numbers to the right; those whose heading is among `words` to the left."""
    lines = [headings, *rows]
    widths = [
        max((len(cell) for cell in column if len(cell) <= WIDEST), default=0) for column in zip(*lines, strict=True)
    ]
    aligned = [str.ljust if heading in words else str.rjust for heading in headings]
    for line in lines:
        cells = [align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True)]
        screen.line("  ".join(cells).rstrip())
