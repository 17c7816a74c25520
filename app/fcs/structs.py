"""Flow-cytometry files on the wire and in the tables."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.fcs.layout import Description, Parameter, Scale
from app.values import FileName, Id

MIB = 2**20
Status = Literal["pending", "done", "failed"]
ParameterName = Annotated[str, Meta(min_length=1, max_length=250)]
Limit = Annotated[float, Meta(ge=-1e300, le=1e300)]
Cofactor = Annotated[float, Meta(ge=1e-3, le=1e9)]


class FcsContent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is said of a file whose bytes are the body."""

    name: Annotated[str, Meta(min_length=1, max_length=1000)]


class FcsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file. `owner_id` None: the appliance's own, DEFAULT_FCS_FILE. `warnings` tell what of it does not hold."""

    file_id: int
    filename: str
    owner_id: int | None
    owner_name: str | None
    size_bytes: int
    sha256: str
    fcs_version: str
    total_events: int
    total_parameters: int
    warnings: tuple[str, ...]
    created_at: str


class ContentRow(msgspec.Struct, frozen=True):
    """What is known of a content."""

    id: int
    sha256: str
    parser_version: int
    description: Description
    status: Status
    statistics: str | None
    """JSON."""
    failure: str | None
    ended_at: str | None


class FileAsked(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which file; None: the caller's newest."""

    file_id: Id | None = None


class Parameters(msgspec.Struct, frozen=True):
    """What was measured, and how often."""

    file_id: int
    total_events: int
    total_parameters: int
    parameters: tuple[Parameter, ...]


class EventsAsked(FileAsked, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which events; `parameters` are names with commas between them, None: all."""

    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    offset: Annotated[int, Meta(ge=0, le=10**18 - 1)] = 0
    parameters: Annotated[str, Meta(min_length=1, max_length=20_000)] | None = None
    format: Literal["json", "csv"] = "json"


class Events(msgspec.Struct, frozen=True):
    """A page of events: for each the values by the names of the parameters; None: no number."""

    total_events: int
    limit: int
    offset: int
    events: list[dict[str, float | None]]


class HistogramAsked(FileAsked, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which histogram; what is left out is as the file suggests."""

    x: ParameterName
    bins: Annotated[int, Meta(ge=2, le=1024)] = 256
    scale: Scale | None = None
    min: Limit | None = None
    max: Limit | None = None
    cofactor: Cofactor = 150.0
    format: Literal["json", "svg"] = "json"


class DensityAsked(FileAsked, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which density; `scale` is that of both axes, where an axis has none of its own."""

    x: ParameterName
    y: ParameterName
    bins: Annotated[int, Meta(ge=2, le=256)] = 128
    scale: Scale | None = None
    x_scale: Scale | None = None
    y_scale: Scale | None = None
    x_min: Limit | None = None
    x_max: Limit | None = None
    y_min: Limit | None = None
    y_max: Limit | None = None
    cofactor: Cofactor = 150.0
    format: Literal["json", "svg"] = "json"


class Computed(msgspec.Struct, frozen=True):
    """Statistics, for each parameter."""

    file_id: int
    total_events: int
    parser_version: int
    statistics: msgspec.Raw


class Computing(msgspec.Struct, frozen=True):
    """They are not there yet."""

    status: Literal["computing"] = "computing"


class Keywords(msgspec.Struct, frozen=True):
    """The keywords of a file as they are written; `hidden` are those whose values the caller may not see."""

    file_id: int
    total_keywords: int
    keywords: dict[str, str]
    hidden: list[str]


class UploadCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A file that shall come in chunks of `chunk_size` bytes, the last one shorter; `sha256` is compared in the end."""

    filename: FileName
    file_size: Annotated[int, Meta(ge=1, le=10**15)]
    chunk_size: Annotated[int, Meta(ge=MIB, le=10 * MIB)] = 5 * MIB
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$(?!\n)", description="64 hexadecimal digits")] | None = None


class UploadRow(msgspec.Struct, frozen=True):
    """An upload in the tables."""

    id: int
    filename: str
    size_bytes: int
    chunk_bytes: int
    sha256: str | None
    status: Literal["processing", "completed"]
    file_id: int | None
    created_at: str
    expires_at: str
    chunks: int
    uploaded_bytes: int

    @property
    def total_chunks(self) -> int:
        """How many chunks there are to come in all."""
        return -(-self.size_bytes // self.chunk_bytes)

    def length(self, number: int) -> int:
        """How many bytes a chunk has."""
        return min(self.chunk_bytes, self.size_bytes - number * self.chunk_bytes)


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """How far an upload has come; of the chunks that have not, `missing` tells the first hundred."""

    id: int
    filename: str
    file_size: int
    chunk_size: int
    total_chunks: int
    uploaded_chunks: int
    uploaded_bytes: int
    progress_percentage: float
    status: Literal["processing", "completed"]
    file_id: int | None
    created_at: str
    expires_at: str
    missing: list[int] | None = None
    """None in a list."""


class Chunk(msgspec.Struct, frozen=True):
    """A chunk that has come."""

    number: int
    sha256: str
    size_bytes: int
    id: int


class BlobName(msgspec.Struct, frozen=True):
    """A blob that something names."""

    sha256: str
    id: int
