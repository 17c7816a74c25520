"""The commands that tell what is in a flow-cytometry file: parameters, keywords, statistics, events, plots."""

import codecs
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.cli.answers import (
    FcsAmplification,
    FcsEvents,
    FcsKeywords,
    FcsMeasured,
    FcsParameter,
    FcsParameters,
    FcsStatistics,
    read,
)
from app.cli.call import Call
from app.cli.figures import figure, share, table, word
from app.cli.outcomes import OK, NotPurser, Refused, Usage
from app.cli.output import Table, size

if TYPE_CHECKING:
    from app.cli.client import Query

PATIENCE_S = 90.0
"""So long the service may be silent: it waits for statistics, and a plot may take a minute."""
MOST_BYTES = 2**30
"""Ten thousand events of hundreds of parameters are longer than other answers are."""
RETRY_S, SHORTEST_RETRY_S, LONGEST_RETRY_S = 5.0, 1.0, 60.0
WIDEST = 40
_STATISTICS = {
    "MIN": "min",
    "P5": "p5",
    "P25": "p25",
    "MEDIAN": "median",
    "P75": "p75",
    "P95": "p95",
    "MAX": "max",
    "MEAN": "mean",
    "STD": "std",
}
_FOR_ONE = ("min", "max")
_FOR_TWO = ("x_scale", "y_scale", "x_min", "x_max", "y_min", "y_max")


def info(call: Call) -> int:
    """Prints every field of a file, its warnings, and a table of what was measured."""
    client = call.client()
    answer = client.send("GET", "/fcs/parameters", {"file_id": call.arguments.id})
    measured = answer.decode(FcsParameters)
    file = client.send("GET", f"/fcs/files/{measured.file_id}")
    if call.as_json:
        whole = file.decode(dict[str, msgspec.Raw]) | {"parameters": answer.decode(FcsMeasured).parameters}
        call.screen.json(msgspec.json.encode(whole))
        return OK
    fields = file.decode(dict[str, object])
    warnings = fields.pop("warnings", None)
    told = warnings if isinstance(warnings, list) else []
    call.screen.fields(fields | {"warnings": len(told)})
    for warning in told:
        call.screen.line(f"  {warning}")
    call.screen.line("")
    _print_parameters(call, measured.parameters)
    return OK


def _print_parameters(call: Call, parameters: Iterable[FcsParameter]) -> None:
    headings = ("NO", "PARAMETER", "STAIN", "RANGE", "DISPLAY", "TYPE", "BITS", "DECADES", "GAIN")
    rows = [
        (
            figure(p.index),
            word(p.pnn),
            word(p.pns),
            figure(p.range),
            word(p.display),
            word(p.datatype),
            figure(p.bits),
            _decades(p.amplification),
            figure(p.gain),
        )
        for p in parameters
    ]
    table(call.screen, headings, rows, ("PARAMETER", "STAIN", "DISPLAY", "TYPE"))


def _decades(made: FcsAmplification | None) -> str:
    """As `$PnE` writes it."""
    return "-" if made is None else f"{figure(made.decades)},{figure(made.offset)}"


def keywords(call: Call) -> int:
    """Prints the keywords of a file, and which the caller may not see."""
    answer = call.client().send("GET", "/fcs/keywords", {"file_id": call.arguments.file})
    if call.as_json:
        call.screen.json(answer.content)
        return OK
    found = answer.decode(FcsKeywords)
    rows = [{"keyword": keyword, "value": value} for keyword, value in found.keywords.items()]
    Table(call.screen, {"KEYWORD": "keyword", "VALUE": "value"}, WIDEST).add(rows)
    if found.hidden:
        call.screen.note(f"Only with fcs:analyze, since they may tell of persons: {', '.join(found.hidden)}")
    return OK


def statistics(call: Call) -> int:
    """Prints the statistics of every parameter, once they are there."""
    content = _statistics(call, {"file_id": call.arguments.file})
    if call.as_json:
        call.screen.json(content)
        return OK
    found = read(content, FcsStatistics, "the answer").statistics
    headings = ("PARAMETER", "STAIN", *_STATISTICS, "NEGATIVE", "NAN", "ABOVE")
    rows = [
        (
            word(one.get("parameter")),
            word(one.get("pns")),
            *(figure(one.get(field)) for field in _STATISTICS.values()),
            share(one.get("negative_fraction")),
            figure(one.get("nan_count")),
            figure(one.get("above_range")),
        )
        for one in found
    ]
    table(call.screen, headings, rows, ("PARAMETER", "STAIN"))
    return OK


def _statistics(call: Call, query: "Query") -> bytes:
    """The answer with statistics. While they are computed it is another one, which for a stream is a refusal."""
    told = False
    while True:
        try:
            return _read(call, "/fcs/statistics", query, "application/json")
        except Refused as refused:
            if refused.status != 202:
                raise
            if not told:
                call.screen.note("The statistics are being computed; waiting for them")
            told = True
            asked_s = RETRY_S if refused.retry_after_s is None else refused.retry_after_s
            time.sleep(max(SHORTEST_RETRY_S, min(asked_s, LONGEST_RETRY_S)))


def events(call: Call) -> int:
    """Prints events as a table, or as the service's CSV."""
    asked = call.arguments
    if asked.csv and call.as_json:
        raise Usage("--csv prints no JSON: leave one of them out")
    query = {"file_id": asked.file, "limit": asked.limit, "offset": asked.offset, "parameters": asked.parameters}
    if asked.csv:
        _print_sheet(call, {**query, "format": "csv"})
        return OK
    content = _read(call, "/fcs/events", query, "application/json")
    if call.as_json:
        call.screen.json(content)
        return OK
    found = read(content, FcsEvents, "the answer")
    if not found.events:
        call.screen.note(f"No events there: the file has {found.total_events}.")
        return OK
    names = list(found.events[0])
    table(
        call.screen, [word(name) for name in names], [[figure(one.get(name)) for name in names] for one in found.events]
    )
    return OK


def _print_sheet(call: Call, query: "Query") -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with call.client().stream("/fcs/events", query, "text/csv") as pieces:
        for piece in pieces or ():
            call.screen.sheet(decoder.decode(piece))


def plot(call: Call) -> int:
    """Draws a plot into a file, or to stdout; with --json prints what would be drawn."""
    asked = call.arguments
    query = _plot_query(call)
    if call.as_json:
        if asked.output is not None:
            raise Usage("--json prints what would be drawn: leave -o out")
        call.screen.json(_read(call, _plot_path(call), query, "application/json"))
        return OK
    if asked.output is None and call.screen.for_people:
        raise Usage("A plot is SVG, which is nothing for a terminal: give -o FILE.svg")
    if asked.output in (None, "-"):
        call.screen.content([_read(call, _plot_path(call), query | {"format": "svg"}, "image/svg+xml")])
        return OK
    _save(call, Path(asked.output), query | {"format": "svg"})
    return OK


def _plot_path(call: Call) -> str:
    return "/fcs/histogram" if call.arguments.y is None else "/fcs/density"


def _plot_query(call: Call) -> dict[str, str | int | None]:
    """What is asked for; Usage for what makes sense only of the other kind of plot."""
    asked = vars(call.arguments)
    mine, others = (_FOR_ONE, _FOR_TWO) if asked["y"] is None else (_FOR_TWO, _FOR_ONE)
    for name in others:
        if asked[name] is not None:
            instead = (
                "is for two parameters: give Y as well" if name in _FOR_TWO else "is for one: say --x-min and so on"
            )
            raise Usage(f"--{name.replace('_', '-')} {instead}")
    wanted = {name: asked[name] for name in ("x", "y", "scale", "bins", "cofactor", *mine)}
    return {"file_id": asked["file"], **wanted}


def _save(call: Call, place: Path, query: "Query") -> None:
    """Makes the file when the plot is there, whole or not at all."""
    from app.cli.parts import Part, refuse_existing

    force = call.arguments.force
    if place.is_dir():
        raise Usage(f"{place} is a folder: name a file")
    refuse_existing(place, force)
    content = _read(call, _plot_path(call), query, "image/svg+xml")
    with Part(place, sha256(content).hexdigest()) as part:
        part.restart()
        part.add(content)
        part.complete(force)
    call.screen.line(f"Success: Saved {place}, {size(len(content))}")


def _read(call: Call, path: str, query: "Query", media_type: str) -> bytes:
    """An answer that may take its time, and may be long."""
    content = bytearray()
    with call.client().stream(path, query, media_type, PATIENCE_S) as pieces:
        for piece in pieces or ():
            content += piece
            if len(content) > MOST_BYTES:
                raise NotPurser(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(content)
