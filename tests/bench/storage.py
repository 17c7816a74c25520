"""The storage part: lists, searches and trees beside a bare hello; transfers with curl beside a bare Starlette.

The documents are made of words that are as frequent as words are (Zipf), about a kilobyte each.
"""

import asyncio
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx2

from app.actor import Actor
from app.datadir import open_database
from app.db import Tx, limit_s
from app.documents import service as documents
from app.documents.structs import DocumentCreate
from app.files import service as files
from app.folders import service as folders
from app.folders.structs import FolderCreate
from app.users import service as users
from tests.bench.load import Load
from tests.bench.servers import LOAD_CORE, Server, Service
from tests.support import configured

FILES, DEEP, WIDE, TOGETHER = 10_000, 1_000, 10_000, 1_000
TRANSFER_BYTES = 256 * 2**20
RARE, FREQUENT, FOREIGN = "zyzzyva", "word", "漢字"
QUOTA_BYTES = 10**15


def texts(count: int) -> Iterator[str]:
    """Texts of 170 words; one in a thousand has a rare word in it, and one of two signs."""
    chance = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = [FREQUENT, *("".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(20_000))]
    weights = list(itertools.accumulate(1 / (place + 10) for place in range(len(words))))
    for number in range(count):
        text = " ".join(chance.choices(words, cum_weights=weights, k=170))
        yield f"{text} {RARE} {FOREIGN}" if number % 1000 == 7 else text


@limit_s(60)
def fill_documents(tx: Tx, actor: Actor, some: Sequence[str]) -> None:
    for text in some:
        documents.create(tx, actor, DocumentCreate(title=text[:40], content=text, tags=["bench"]), QUOTA_BYTES)


@limit_s(60)
def fill_files(tx: Tx, actor: Actor) -> None:
    for number in range(FILES):
        files.add(tx, actor, f"file {number}.txt", None, f"{number:064x}", 1000, "text/plain")


@limit_s(60)
def fill_folders(tx: Tx, actor: Actor) -> None:
    root = folders.create(tx, actor, FolderCreate(name="wide"))
    for number in range(WIDE):
        folders.create(tx, actor, FolderCreate(name=f"{number:05}", parent_id=root.id))
    parent_id = None
    for number in range(DEEP):
        parent_id = folders.create(tx, actor, FolderCreate(name=f"deep {number}", parent_id=parent_id)).id


async def fill(folder: Path, count: int) -> None:
    """Fills the database of a service that is stopped."""
    database = await open_database(configured(folder))
    try:
        actor = await database.read(lambda tx: users.acting(tx, users.first_super_admin(tx)))
        await database.write(fill_files, actor)
        await database.write(fill_folders, actor)
        pending = texts(count)
        while some := list(itertools.islice(pending, TOGETHER)):
            await database.write(fill_documents, actor, some)
    finally:
        await database.close()


class Curl:
    """Transfers with curl, pinned to the core of the load; the rate of each in MB/s."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        with self.source.open("wb") as file:
            for _ in range(TRANSFER_BYTES // 2**20):
                file.write(os.urandom(2**20))

    def rate(self, url: str, token: str, *arguments: str) -> float:
        argv = ["taskset", "-c", str(LOAD_CORE), "curl", "-sSf", "-o", "/dev/null", *arguments]
        argv += ["-w", "%{time_total}", "-H", f"Authorization: Token {token}", url]
        took = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return TRANSFER_BYTES / float(took) / 1e6


def measure(load: Load, count: int) -> None:
    """Fills a service with so many documents, then asks and transfers."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        empty = Service(folder / "box", ["-m", "app", "serve"])
        empty.stop()
        asyncio.run(fill(folder / "box", count))
        os.environ["BARE_FOLDER"] = name
        curl = Curl(folder)
        os.link(curl.source, folder / "file")
        box = Service(folder / "box", ["-m", "app", "serve"], empty.token)
        stack.callback(box.stop)
        bare_app = "tests.bench.bare_files:app"
        bare = Server([sys.executable, "-m", "uvicorn", bare_app, "--port", "0", "--no-access-log"], {})
        stack.callback(bare.stop)
        print(f"{count} documents, {FILES} files, {WIDE + DEEP + 1} folders:")
        for path, connections in _asked(load.connections):
            _compare(load, bare, box, path, connections)
        _transfers(load, bare, box, curl)


def _asked(connections: int) -> Iterator[tuple[str, int]]:
    yield "/api/v1/files?limit=50", connections
    yield "/api/v1/documents?limit=50", connections
    yield "/api/v1/documents/1", connections
    for text in (FREQUENT, RARE, FOREIGN, "nowhere"):
        yield f"/api/v1/documents?limit=50&q={quote(text)}", 1
    yield "/api/v1/folders/tree", 1
    yield "/api/v1/folders/tree?depth=1", connections


def _compare(load: Load, bare: Server, box: Service, path: str, connections: int) -> None:
    rounds = []
    for number in range(load.rounds):
        found = {}
        for server in (bare, box)[:: -1 if number % 2 else 1]:
            found[server] = load.run(server, "/" if server is bare else path, connections=connections)
        rounds.append((found[bare], found[box]))
    rate, p50, p99 = (statistics.median(column) for column in zip(*(found for _, found in rounds), strict=True))
    ratios = sorted(found.rate / base.rate for base, found in rounds)
    print(
        f"  GET {path:44} c={connections:<3} {rate:7.0f}/s  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms"
        f"  of hello {statistics.median(ratios):.3f}",
        flush=True,
    )


def _transfers(load: Load, bare: Server, box: Service, curl: Curl) -> None:
    before = box.memory_mib("VmHWM")
    source = ("-T", str(curl.source))
    form = ("-F", f"file=@{curl.source}")
    content = f"{box.url}/api/v1/files/content?name=bench.bin"
    rounds = []
    for _ in range(load.rounds):
        found = [curl.rate(f"{bare.url}/upload", "", *source), curl.rate(content, box.token, *source)]
        found.append(curl.rate(f"{box.url}/api/v1/files", box.token, *form))
        with httpx2.Client(trust_env=False, headers={"Authorization": f"Token {box.token}"}) as client:
            newest = client.get(f"{box.url}/api/v1/files?limit=1").raise_for_status().json()[0]["id"]
        found.append(curl.rate(f"{bare.url}/file", ""))
        found.append(curl.rate(f"{box.url}/api/v1/files/{newest}/download", box.token))
        rounds.append(found)
    to_bare, to_box, by_form, from_bare, from_box = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"  upload {TRANSFER_BYTES >> 20} MiB: {to_box:.0f} MB/s raw, {by_form:.0f} MB/s as a form;"
        f" bare Starlette, unhashed and unsynced, {to_bare:.0f} MB/s: ratio {to_box / to_bare:.2f}\n"
        f"  download: {from_box:.0f} MB/s; bare Starlette {from_bare:.0f} MB/s: ratio {from_box / from_bare:.2f}\n"
        f"  peak RSS grew by {box.memory_mib('VmHWM') - before:.1f} MiB, to {box.memory_mib('VmHWM'):.1f} MiB",
        flush=True,
    )
