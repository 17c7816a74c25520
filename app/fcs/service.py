"""The rules of flow-cytometry files: who has them, what is known of their contents, how statistics come to be."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from app.actor import APPLIANCE, Actor
from app.audit import service as audit
from app.blobs import Blob
from app.db import Tx, load
from app.db.rows import to_json
from app.errors import Forbidden, Invalid, NotFound, PurserError, Unavailable
from app.fcs.layout import Description, Parameter, Scale
from app.fcs.pages import Page
from app.fcs.parser import VERSION
from app.fcs.plots import LEAST, NARROWEST
from app.fcs.structs import (
    BlobName,
    ContentRow,
    DensityAsked,
    EventsAsked,
    FcsFile,
    HistogramAsked,
    Parameters,
)
from app.fcs.tasks import AxisWish, DensityWish, HistogramWish
from app.files import service as files
from app.files.structs import Reserved
from app.values import instant, seconds

q = load("fcs")

ADMIN, ANALYZE = "fcs:admin", "fcs:analyze"
COMPUTED = "fcs_computed"
"""Message after commit: statistics have come to an end, one way or the other; the key is the content's id."""
PENDING = "fcs_pending"
"""Message after commit: there are statistics to be computed."""
AGAIN_S = 60.0
"""So long after they failed, statistics are tried again when they are asked for."""


def page(tx: Tx, actor: Actor, after: int, limit: int) -> list[FcsFile]:
    """The actor's files, the newest first; of an administrator's reach those of all."""
    statement = q.of_owner if actor.reach(ADMIN) == "own" else q.reachable
    asked = actor.within(ADMIN) | {"before_id": after or 2**62, "limit": limit}
    return tx.many(statement, FcsFile, **statement.its(asked))


def count(tx: Tx, actor: Actor) -> int:
    """How many there are on all pages."""
    statement = q.count_of_owner if actor.reach(ADMIN) == "own" else q.count_reachable
    return tx.value(statement, int, **statement.its(actor.within(ADMIN))) or 0


def get(tx: Tx, actor: Actor, file_id: int) -> FcsFile:
    """A file that the actor may read; NotFound for any other."""
    found = tx.one(q.by_id, FcsFile, id=file_id, **actor.within(ADMIN))
    if found is None:
        raise NotFound("No such FCS file.")
    return found


def chosen(tx: Tx, actor: Actor, file_id: int | None) -> tuple[FcsFile, ContentRow]:
    """The file that was asked for, else the actor's newest, else the appliance's own; with what is known of it."""
    wanted = file_id or tx.value(q.newest, int, self_id=actor.user_id) or tx.value(q.default, int)
    if wanted is None:
        raise NotFound("You have no FCS file; upload one, or name another with file_id.")
    file = get(tx, actor, wanted)
    return file, _content(tx, file.sha256)


def _content(tx: Tx, sha256: str) -> ContentRow:
    found = tx.one(q.content, ContentRow, sha256=sha256)
    if found is None:
        raise RuntimeError("a file has no content")
    return found


def parameters(file: FcsFile, content: ContentRow) -> Parameters:
    """What was measured."""
    found = content.description.parameters
    return Parameters(file.file_id, file.total_events, len(found), found)


def places(parameters: Sequence[Parameter], wanted: Sequence[str], field: str) -> list[int]:
    """Which parameters, by their places from 0, have these names, or these numbers from 1 on.

    Case counts only where names differ in nothing else. Invalid names the field that asks for another.
    """
    folded = {found.pnn.casefold(): found.index - 1 for found in reversed(parameters)}
    exact = {found.pnn: found.index - 1 for found in parameters}
    found = []
    for name in wanted:
        place = exact.get(name, folded.get(name.casefold()))
        if place is None and re.fullmatch("[0-9]{1,6}", name) and 1 <= int(name) <= len(parameters):
            place = int(name) - 1
        if place is None:
            known = ", ".join([found.pnn for found in parameters[:20]] + ["…"] * (len(parameters) > 20))
            shown = name if len(name) <= 60 else name[:59] + "…"
            raise Invalid.field(field, f"there is no parameter {shown!r}; there are {known}")
        found.append(place)
    return found


def events(content: ContentRow, asked: EventsAsked) -> Page:
    """The page of events that is asked for; Invalid for parameters that there are not, or that are given twice."""
    described = content.description
    found = list(range(len(described.parameters)))
    if asked.parameters is not None:
        wanted = [name.strip() for name in asked.parameters.split(",")]
        found = places(described.parameters, wanted, "parameters")
    if len(set(found)) < len(found):
        raise Invalid.field("parameters", "a parameter is given more than once")
    names = [described.parameters[place].pnn for place in found]
    return Page(described.layout, names, found, asked.offset, asked.limit, asked.format)


def histogram(content: ContentRow, asked: HistogramAsked) -> HistogramWish:
    """The histogram that is asked for."""
    axis = _AxisAsked(asked.x, asked.scale, asked.min, asked.max, asked.cofactor)
    return HistogramWish(_wish(content, axis, "x", "min", "max"), asked.bins, asked.format == "svg")


def density(content: ContentRow, asked: DensityAsked) -> DensityWish:
    """The density that is asked for."""
    x = _AxisAsked(asked.x, asked.x_scale or asked.scale, asked.x_min, asked.x_max, asked.cofactor)
    y = _AxisAsked(asked.y, asked.y_scale or asked.scale, asked.y_min, asked.y_max, asked.cofactor)
    axes = _wish(content, x, "x", "x_min", "x_max"), _wish(content, y, "y", "y_min", "y_max")
    return DensityWish(*axes, asked.bins, asked.format == "svg")


class _AxisAsked(NamedTuple):
    """An axis as it is asked for; None: as the file suggests."""

    parameter: str
    scale: Scale | None
    low: float | None
    high: float | None
    cofactor: float


def _wish(content: ContentRow, asked: _AxisAsked, field: str, low: str, high: str) -> AxisWish:
    """An axis as it shall be computed. Invalid names the field that does not hold: `low` and `high` are its limits'."""
    parameters = content.description.parameters
    (found,) = places(parameters, [asked.parameter], field)
    scale = asked.scale or _usual(parameters[found])
    for name, value in ((low, asked.low), (high, asked.high)):
        if value is not None and value < LEAST and scale == "log":
            raise Invalid.field(name, f"expected at least {LEAST:g} on a logarithmic scale, not {value:g}")
    if asked.low is not None and asked.high is not None:
        least = max(NARROWEST * max(abs(asked.low), abs(asked.high)), LEAST)
        if not asked.high - asked.low >= least:
            raise Invalid.field(high, f"expected more than {low}, {asked.low:g}, not {asked.high:g}")
    return AxisWish(found, scale, asked.low, asked.high, asked.cofactor)


def _usual(parameter: Parameter) -> Scale:
    """How a parameter is shown: values that a logarithmic amplifier made are logarithms already."""
    return "asinh" if parameter.display == "LOG" and parameter.amplification is None else "linear"


def may_see_persons(actor: Actor) -> bool:
    """Whether the actor is shown who was examined."""
    return actor.permissions.reach(ANALYZE) is not None


def begin(tx: Tx, actor: Actor, at_least: int, most_bytes: int, quota_bytes: int) -> Reserved:
    """Lets an upload begin, its place reserved as far as its length is known; how much it may be."""
    return files.begin(tx, actor, None, at_least, most_bytes, quota_bytes)


def refusal(upload: Reserved, quota_bytes: int) -> PurserError:
    """What is raised when an upload is longer than its limit."""
    return files.refusal(upload, quota_bytes)


def abandon(tx: Tx, upload_id: int) -> None:
    """Gives up an upload, and what it had reserved."""
    files.abandon(tx, upload_id)


def finish(
    tx: Tx, actor: Actor, upload_id: int, filename: str, blob: Blob, described: Description, quota_bytes: int
) -> FcsFile:
    """Makes a file of what was uploaded, for which a place was reserved. NoSpace beyond the quota."""
    files.abandon(tx, upload_id)
    files.refuse_beyond_quota(tx, actor.user_id, blob.size_bytes, quota_bytes)
    return make(tx, actor, files.sanitised(filename), blob, described)


def make(tx: Tx, actor: Actor, filename: str, blob: Blob, described: Description) -> FcsFile:
    """A new file of the actor's; its blob is held."""
    found = _add(tx, actor.user_id, filename, blob, described)
    audit.record(tx, actor, "fcs.upload", f"fcs/files/{found}")
    return get(tx, actor, found)


def _add(tx: Tx, owner_id: int | None, filename: str, blob: Blob, described: Description) -> int:
    content_id = tx.value(
        q.keep_content,
        int,
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        now=tx.now,
        **_described(described),
    )
    found = tx.value(q.add, int, owner_id=owner_id, content_id=content_id, filename=filename, now=tx.now)
    if found is None:
        raise RuntimeError("a file was not made")
    tx.notify(PENDING, content_id)
    return found


def _described(described: Description) -> dict[str, object]:
    return {
        "parser_version": VERSION,
        "fcs_version": described.fcs_version,
        "total_events": described.layout.total_events,
        "total_parameters": len(described.parameters),
        "warnings": to_json(described.warnings),
        "description": to_json(described),
    }


def remove(tx: Tx, actor: Actor, file_id: int) -> None:
    """Deletes a file; what is known of its content goes with the last one that names it."""
    if get(tx, actor, file_id).owner_id is None:
        raise Forbidden("This is the appliance's own file, DEFAULT_FCS_FILE.")
    tx.exec(q.remove, id=file_id)
    audit.record(tx, actor, "fcs.delete", f"fcs/files/{file_id}")


def replace_default(tx: Tx, filename: str, blob: Blob, described: Description) -> None:
    """Makes this the appliance's own file; the same one again stays, under its present name."""
    name = files.sanitised(filename)
    if tx.value(q.default_content, str) == blob.sha256:
        tx.exec(q.rename_default, filename=name)
        return
    tx.exec(q.remove_default)
    found = _add(tx, None, name, blob, described)
    audit.record(tx, APPLIANCE, "fcs.default", f"fcs/files/{found}")


def remove_default(tx: Tx) -> None:
    """The appliance has no file of its own any more."""
    if tx.exec(q.remove_default):
        audit.record(tx, APPLIANCE, "fcs.default", "fcs/files")


# statistics


def try_again(tx: Tx, content_id: int) -> None:
    """Has statistics computed once more that failed a while ago."""
    if tx.exec(q.try_again, id=content_id, before=instant(seconds(tx.now) - AGAIN_S)):
        tx.notify(PENDING, content_id)


def outdated(tx: Tx, after_id: int) -> list[ContentRow]:
    """Some of the contents that another version of the parser has described."""
    return tx.many(q.outdated, ContentRow, parser_version=VERSION, after_id=after_id, limit=100)


def describe_again(tx: Tx, content_id: int, described: Description) -> None:
    """Keeps what this version of the parser makes of a content, whose statistics are computed anew."""
    tx.exec(q.describe_again, id=content_id, **_described(described))


def due(tx: Tx) -> ContentRow | None:
    """The content whose statistics are to be computed next; None: there is none."""
    return tx.one(q.due, ContentRow)


def statistics(content: ContentRow) -> bytes:
    """The statistics of a content as JSON; Unavailable says why there are none."""
    if content.statistics is None:
        raise Unavailable(f"The statistics could not be computed: {content.failure}", retry_after_s=int(AGAIN_S))
    return content.statistics.encode()


def keep_statistics(tx: Tx, content_id: int, statistics: bytes) -> None:
    """Keeps statistics, which are JSON."""
    tx.exec(q.keep_statistics, id=content_id, statistics=statistics.decode(), now=tx.now)
    tx.notify(COMPUTED, content_id)


def keep_failure(tx: Tx, content_id: int, why: str) -> None:
    """Keeps that statistics could not be computed, and why."""
    tx.exec(q.keep_failure, id=content_id, failure=why, now=tx.now)
    tx.notify(COMPUTED, content_id)


def named(tx: Tx, blobs: Sequence[str]) -> list[str]:
    """Which of these blobs contents name, or chunks of uploads."""
    return [blob.sha256 for blob in tx.many(q.named, BlobName, blobs=to_json(blobs), now=tx.now)]
