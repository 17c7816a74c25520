"""Bytes on disk: whole or not there, never lost while a row names them, never left behind when an upload breaks off."""

import asyncio
import gc
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from stat import S_IMODE

import pytest

from app import values
from app.blobs import AGE_S, HEAD_BYTES, PIECE_BYTES, TOGETHER, Blob, Blobs, Limit, Sweeper
from app.db import Tx
from app.db.rows import to_json
from app.db.sqlite import SqliteDatabase
from app.errors import NoSpace, NotFound, TooLarge
from tests.notes import Note, soon, statement
from tests.test_no_space import CAN_MOUNT, Disk

CREATE = statement("exec", "CREATE TABLE names (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL) STRICT;")
ADD = statement("value", "INSERT INTO names (text) VALUES (:text) RETURNING id;")
DROP = statement("exec", "DELETE FROM names WHERE id = :id;")
ALL = statement("many", "SELECT id, text FROM names ORDER BY id;")
NAMED = statement(
    "many",
    "SELECT min(id) AS id, text FROM names WHERE text IN (SELECT value FROM json_each(:blobs)) GROUP BY text;",
)


def add(tx: Tx, text: str) -> int:
    return tx.value(ADD, int, text=text) or 0


def drop(tx: Tx, id: int) -> None:
    tx.exec(DROP, id=id)


def everything(tx: Tx) -> list[Note]:
    return tx.many(ALL, Note)


def named(tx: Tx, blobs: Sequence[str]) -> list[str]:
    return [note.text for note in tx.many(NAMED, Note, blobs=to_json(blobs))]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database with a room that names blobs."""
    database = await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path)
    await database.write(lambda tx: tx.exec(CREATE))
    yield database
    await database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path / "blobs")
    made.prepare()
    return made


def no_more() -> TooLarge:
    return TooLarge("Enough.", limit_bytes=0)


ANY = Limit(2**40, no_more)


async def pieces(*chunks: bytes, raises: BaseException | None = None) -> AsyncIterator[bytes]:
    """Chunks that come in turns of the loop of their own."""
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk
    if raises is not None:
        raise raises


async def kept(blobs: Blobs, content: bytes) -> Blob:
    """A blob that nobody holds any more."""
    async with blobs.receive(pieces(content), ANY) as blob:
        return blob


def lie(blobs: Blobs) -> set[str]:
    """The blobs on the disk."""
    return {path.name for path in blobs.folder.glob("??/??/*")}


def arriving(blobs: Blobs) -> list[Path]:
    return [*(blobs.folder / "incoming").iterdir()]


def open_files(blobs: Blobs) -> list[str]:
    """What this process has open below the folder."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(blobs.folder))]


def age(path: Path, seconds: float = AGE_S + 60) -> None:
    at = values.clock() - seconds
    os.utime(path, (at, at), follow_symlinks=False)


async def sweep(blobs: Blobs, db: SqliteDatabase, *rooms: Callable[[Tx, Sequence[str]], list[str]]) -> int:
    return await soon(blobs.sweep(db, rooms or [named], asyncio.Event()))


async def rests(blobs: Blobs) -> None:
    """Returns when nothing is arriving and no file is open: a thread that nobody waits for may end a little later."""
    async with asyncio.timeout(3):
        while arriving(blobs) or open_files(blobs):
            gc.collect()  # what is forgotten is not what is closed; but it is not what is left open either
            await asyncio.sleep(0.005)


def cut(content: bytes, size: int) -> Iterable[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


SIZES = [0, 1, HEAD_BYTES, HEAD_BYTES + 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [1000, PIECE_BYTES, 10**9])
async def test_what_is_received_lies_there_whole_and_for_its_owner_alone(blobs: Blobs, size: int, chunk: int) -> None:
    content = Random(size).randbytes(size)
    async with blobs.receive(pieces(*cut(content, chunk)), ANY) as blob:
        place = blobs.path(blob.sha256)
        assert blob == Blob(sha256(content).hexdigest(), size, content[:HEAD_BYTES])
        assert place.read_bytes() == content
    with await blobs.open(blob.sha256) as file:
        assert file.read() == content
    assert S_IMODE(place.stat().st_mode) == 0o600
    folders = [place.parent, place.parent.parent, blobs.folder / "incoming"]
    assert [S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 3
    assert place == blobs.folder / blob.sha256[:2] / blob.sha256[2:4] / blob.sha256
    assert (arriving(blobs), open_files(blobs)) == ([], [])


async def test_a_limit_holds_to_the_byte_and_what_is_beyond_leaves_nothing(blobs: Blobs) -> None:
    limit = Limit(10, no_more)
    async with blobs.receive(pieces(b"12345", b"67890"), limit) as blob:
        assert blob.size_bytes == 10
    for chunks in ([b"12345", b"678901"], [b"1" * PIECE_BYTES * 2], [b"1"] * 11):
        with pytest.raises(TooLarge):
            async with blobs.receive(pieces(*chunks), limit):
                raise AssertionError("this was too much")
    assert (lie(blobs), arriving(blobs), open_files(blobs)) == ({blob.sha256}, [], [])


@pytest.mark.parametrize("chunks", [[], [b"x"], [b"x" * PIECE_BYTES] * 3])
async def test_what_breaks_off_leaves_nothing(blobs: Blobs, chunks: list[bytes]) -> None:
    with pytest.raises(ConnectionError):
        async with blobs.receive(pieces(*chunks, raises=ConnectionError()), ANY):
            raise AssertionError("this broke off")
    assert (lie(blobs), arriving(blobs), open_files(blobs)) == (set(), [], [])


async def test_what_fails_while_it_is_held_is_swept_when_it_is_old(blobs: Blobs, db: SqliteDatabase) -> None:
    with pytest.raises(LookupError):
        async with blobs.receive(pieces(b"x"), ANY) as blob:
            raise LookupError
    assert await sweep(blobs, db) == 0, "it is young"
    age(blobs.path(blob.sha256))
    assert await sweep(blobs, db) == 1
    assert lie(blobs) == set()


async def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        await blobs.open("0" * 64)


async def test_an_open_blob_stays_readable_when_it_is_swept(blobs: Blobs, db: SqliteDatabase) -> None:
    blob = await kept(blobs, b"x" * 1000)
    with await blobs.open(blob.sha256) as file:
        age(blobs.path(blob.sha256))
        assert await sweep(blobs, db) == 1
        assert file.read() == b"x" * 1000


async def test_the_sweeper_takes_what_is_old_and_neither_named_nor_held(blobs: Blobs, db: SqliteDatabase) -> None:
    kinds = {name: await kept(blobs, name.encode()) for name in ("named", "elsewhere", "young", "unnamed", "dropped")}
    for name in ("named", "dropped"):
        note_id = await db.write(add, kinds[name].sha256)
    await db.write(drop, note_id)
    for name in kinds.keys() - {"young"}:
        age(blobs.path(kinds[name].sha256))

    def elsewhere(tx: Tx, asked: Sequence[str]) -> list[str]:
        return [text for text in asked if text == kinds["elsewhere"].sha256]

    async with blobs.receive(pieces(b"held"), ANY) as held, blobs.receive(pieces(b"held"), ANY):
        age(blobs.path(held.sha256))
        assert await sweep(blobs, db, named, elsewhere) == 2
        assert lie(blobs) == {held.sha256, *(kinds[name].sha256 for name in ("named", "elsewhere", "young"))}
    assert await sweep(blobs, db, named, elsewhere) == 1, "nobody holds it any more"
    assert await sweep(blobs, db, named, elsewhere) == 0


async def test_a_blob_that_two_hold_is_held_until_both_let_go(blobs: Blobs, db: SqliteDatabase) -> None:
    async with blobs.receive(pieces(b"held"), ANY) as blob:
        async with blobs.receive(pieces(b"held"), ANY):
            pass
        age(blobs.path(blob.sha256))
        assert await sweep(blobs, db) == 0
    assert await sweep(blobs, db) == 1


async def test_an_upload_that_ends_while_the_sweeper_asks_who_names_it_is_kept(
    blobs: Blobs, db: SqliteDatabase
) -> None:
    """Although its blob is old, as after a leap of the clock: named too late for the answer, and held no more."""
    asked, goes_on = threading.Event(), threading.Event()

    def named_before(tx: Tx, texts: Sequence[str]) -> list[str]:
        found = named(tx, texts)
        asked.set()
        assert goes_on.wait(1)
        return found

    async with blobs.receive(pieces(b"kept"), ANY) as blob:
        age(blobs.path(blob.sha256))
        sweeping = asyncio.create_task(blobs.sweep(db, [named_before], asyncio.Event()))
        await asyncio.to_thread(asked.wait)
        await db.write(add, blob.sha256)
    goes_on.set()
    await soon(sweeping)
    assert lie(blobs) == {blob.sha256}


async def test_what_comes_again_is_young_again(blobs: Blobs, db: SqliteDatabase) -> None:
    blob = await kept(blobs, b"again")
    age(blobs.path(blob.sha256))
    await kept(blobs, b"again")
    assert await sweep(blobs, db) == 0
    age(blobs.path(blob.sha256), AGE_S - 60)
    assert await sweep(blobs, db) == 0


async def test_what_is_damaged_is_mended_when_it_comes_again(blobs: Blobs) -> None:
    blob = await kept(blobs, b"whole")
    blobs.path(blob.sha256).write_bytes(b"who")
    await kept(blobs, b"whole")
    assert blobs.path(blob.sha256).read_bytes() == b"whole"


async def test_more_blobs_than_one_look_takes_are_swept(blobs: Blobs, db: SqliteDatabase) -> None:
    folder = blobs.folder / "ab" / "cd"
    folder.mkdir(parents=True)
    texts = [f"abcd{number:060x}" for number in range(TOGETHER + 3)]
    for text in texts:
        (folder / text).touch()
        age(folder / text)
    for text in texts[::200]:
        await db.write(add, text)
    assert await sweep(blobs, db) == len(texts) - len(texts[::200])
    assert lie(blobs) == {*texts[::200]}


async def test_a_sweep_that_is_told_to_stop_stops(blobs: Blobs, db: SqliteDatabase) -> None:
    blob = await kept(blobs, b"x")
    age(blobs.path(blob.sha256))
    stopping = asyncio.Event()
    stopping.set()
    assert await blobs.sweep(db, [named], stopping) == 0
    assert lie(blobs) == {blob.sha256}


def a_file(place: Path) -> None:
    place.write_bytes(b"stray")


def a_folder(place: Path) -> None:
    place.mkdir()
    (place / "within").touch()


def a_dangling_link(place: Path) -> None:
    place.symlink_to("nowhere")


def a_link_to_itself(place: Path) -> None:
    place.symlink_to(place)


STRAYS = [os.mkfifo, a_file, a_folder, a_dangling_link, a_link_to_itself]
PLACES = ["AA", "ab", "abc", "{0}/ab", "{0}/abc", "{0}/{1}/ab", "f" * 64, "{0}/" + "f" * 64, "{0}/{1}/" + "f" * 64]
PLACES += ["{0}/{1}/{0}{1}" + "f" * 60, "{0}/{1}/bad\udcff"]


@pytest.mark.parametrize("make", STRAYS, ids=lambda make: make.__name__)
async def test_what_strays_among_the_blobs_breaks_no_sweep(
    blobs: Blobs, db: SqliteDatabase, make: Callable[[Path], None]
) -> None:
    """Whatever it is, and wherever: what is to be swept is swept."""
    old = [await kept(blobs, b"%d" % number) for number in range(5)]
    for place in PLACES:
        stray = blobs.folder / place.format(old[2].sha256[:2], old[2].sha256[2:4])
        make(stray)
        age(stray)
    for blob in old:
        age(blobs.path(blob.sha256))
    await db.write(add, old[0].sha256)
    await sweep(blobs, db)
    assert {blob.sha256 for blob in old} & lie(blobs) == {old[0].sha256}


async def test_the_sweeper_goes_on_after_what_it_cannot_sweep(
    blobs: Blobs, db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends when it is told to, without an error."""
    monkeypatch.setattr("app.blobs.SWEEP_S", 0.01)
    first = await kept(blobs, b"first")
    stray = blobs.path(first.sha256).parent / "stray\udcff"
    stray.touch()
    age(stray)
    sweeper = Sweeper(blobs, db, [named])
    sweeper.start()
    await asyncio.sleep(0)
    age(blobs.path(first.sha256))
    async with asyncio.timeout(10):
        while first.sha256 in lie(blobs):
            assert sweeper._task is not None
            assert not sweeper._task.done(), "the sweeper has died"
            await asyncio.sleep(0.005)
    await soon(sweeper.stop())


async def test_what_is_let_go_goes_although_it_is_young(blobs: Blobs, db: SqliteDatabase) -> None:
    """Unless a row of any room names it, or it is held; nothing else goes, and what is not there does no harm."""
    kinds = {name: await kept(blobs, name.encode()) for name in ("named", "elsewhere", "gone", "kept")}
    await db.write(add, kinds["named"].sha256)

    def elsewhere(tx: Tx, asked: Sequence[str]) -> list[str]:
        return [text for text in asked if text == kinds["elsewhere"].sha256]

    async with blobs.receive(pieces(b"held"), ANY) as held:
        blobs.let_go(kinds[name].sha256 for name in ("named", "elsewhere", "gone"))
        blobs.let_go([held.sha256, kinds["gone"].sha256, "0" * 64])
        await soon(blobs.sweep_doubted(db, [named, elsewhere]))
        assert lie(blobs) == {held.sha256, *(kinds[name].sha256 for name in ("named", "elsewhere", "kept"))}
    assert (arriving(blobs), open_files(blobs)) == ([], [])


async def test_what_was_let_go_and_comes_again_is_kept(blobs: Blobs, db: SqliteDatabase) -> None:
    """It is named by the time the sweeper asks, or held: before it is let go, and after."""
    blob = await kept(blobs, b"again")
    blobs.let_go([blob.sha256])
    async with blobs.receive(pieces(b"again"), ANY):
        await soon(blobs.sweep_doubted(db, [named]))
        await db.write(add, blob.sha256)
    await soon(blobs.sweep_doubted(db, [named]))
    assert blobs.path(blob.sha256).read_bytes() == b"again"


async def test_when_nothing_is_let_go_no_room_is_asked(blobs: Blobs, db: SqliteDatabase) -> None:
    asked: list[Sequence[str]] = []

    def noting(tx: Tx, texts: Sequence[str]) -> list[str]:
        asked.append(texts)
        return []

    await kept(blobs, b"young")
    blobs.let_go([])
    await soon(blobs.sweep_doubted(db, [noting]))
    blobs.let_go(["0" * 64])
    for _ in range(2):
        await soon(blobs.sweep_doubted(db, [noting]))
    assert asked == [["0" * 64]]


async def test_what_is_let_go_while_nobody_can_be_asked_goes_later(blobs: Blobs, db: SqliteDatabase) -> None:
    blob = await kept(blobs, b"x")
    blobs.let_go([blob.sha256])

    def cannot(tx: Tx, texts: Sequence[str]) -> list[str]:
        raise NoSpace("Not now.")

    with pytest.raises(NoSpace):
        await soon(blobs.sweep_doubted(db, [cannot]))
    assert lie(blobs) == {blob.sha256}
    await soon(blobs.sweep_doubted(db, [named]))
    assert lie(blobs) == set()


async def test_the_sweeper_is_woken_by_what_is_let_go(blobs: Blobs, db: SqliteDatabase) -> None:
    """However often: it does not wait for its hour."""
    sweeper = Sweeper(blobs, db, [named])
    sweeper.start()
    stays = await kept(blobs, b"stays")
    await db.write(add, stays.sha256)
    for number in range(3):
        blob = await kept(blobs, b"%d" % number)
        blobs.let_go([stays.sha256, blob.sha256])
        async with asyncio.timeout(10):
            while blob.sha256 in lie(blobs):
                await asyncio.sleep(0.005)
    await soon(sweeper.stop())
    assert lie(blobs) == {stays.sha256}


@pytest.mark.parametrize("make", [os.mkfifo, a_file, a_dangling_link], ids=lambda make: make.__name__)
def test_a_start_clears_what_was_arriving(tmp_path: Path, make: Callable[[Path], None]) -> None:
    blobs = Blobs(tmp_path / "blobs")
    blobs.prepare()
    make(blobs.folder / "incoming" / "stray")
    blobs.prepare()
    assert arriving(blobs) == []


@pytest.mark.slow
async def test_uploads_deletions_and_sweeps_side_by_side_lose_nothing(blobs: Blobs, db: SqliteDatabase) -> None:
    """The same few texts are uploaded and dropped again and again, and every blob is always old."""
    random, over = Random(7), asyncio.Event()
    contents = [b"one", b"two" * 100, b"three" * PIECE_BYTES, *(b"%d" % number for number in range(5))]
    texts = {sha256(content).hexdigest(): content for content in contents}
    swept, lost = 0, []

    async def upload() -> None:
        for _ in range(60):
            content = random.choice(contents)
            async with blobs.receive(pieces(*cut(content, PIECE_BYTES)), ANY) as blob:
                for _ in range(random.randrange(4)):
                    await asyncio.sleep(0)
                note_id = await db.write(add, blob.sha256)
            for _ in range(random.randrange(20)):
                await asyncio.sleep(0)
            if not blobs.path(blob.sha256).exists():
                lost.append(content)
            if random.random() < 0.98:
                await db.write(drop, note_id)

    async def make_old() -> None:
        while not over.is_set():
            async with blobs._turn:  # an hour does not pass while the sweeper looks
                for text in lie(blobs):
                    age(blobs.path(text))
            await asyncio.sleep(0)

    async def sweep_on() -> None:
        nonlocal swept
        while not over.is_set():
            swept += await blobs.sweep(db, [named], over)

    background = [asyncio.create_task(task()) for task in (make_old, sweep_on)]
    try:
        await soon(asyncio.gather(*(upload() for _ in range(5))))
    finally:
        over.set()
        await asyncio.gather(*background)
    assert (lost, swept > 20) == ([], True), f"{swept} were swept: there was something to lose"
    notes = await db.read(everything)
    for note in notes:
        with await blobs.open(note.text) as file:
            assert file.read() == texts[note.text]
    assert notes
    assert (arriving(blobs), open_files(blobs)) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
async def test_an_upload_that_is_cancelled_anywhere_leaves_nothing(blobs: Blobs, times: int) -> None:
    """Also while it waits for the disk, and when it is cancelled once more while it clears up."""
    content, random = [b"x" * PIECE_BYTES, b"y" * PIECE_BYTES, b"z"], Random(times)

    async def receive() -> None:
        async with blobs.receive(pieces(*content), ANY):
            await asyncio.sleep(0)

    async def turns(task: asyncio.Task[None], most: int) -> int:
        """How many turns of the loop the task takes, at the most so many."""
        for turn in range(most):
            if task.done():
                return turn
            await asyncio.sleep(0)
        return most

    usual = await turns(asyncio.create_task(receive()), 10**6)
    for number in range(200):
        task = asyncio.create_task(receive())
        await turns(task, random.randrange(usual if number % 2 else 40))
        for _ in range(times):
            task.cancel()
            await turns(task, random.randrange(6))
        with suppress(asyncio.CancelledError):
            await soon(task)
    await rests(blobs)
    assert lie(blobs) == {sha256(b"".join(content)).hexdigest()}
    assert blobs._held == {}
    assert (await kept(blobs, b"later")).size_bytes == 5


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A small disk."""
    if not CAN_MOUNT:
        pytest.skip("a small disk needs root with CAP_SYS_ADMIN")
    small = Disk(tmp_path_factory.mktemp("full") / "disk")
    yield small
    small.unmount()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5, 20], ids="{} MiB".format)
async def test_a_disk_that_fills_up_takes_nothing_and_then_again(disk: Disk, size: int) -> None:
    blobs = Blobs(disk.folder / "blobs")
    blobs.prepare()
    if size < 20:
        disk.fill()
    chunks = [os.urandom(2**20) for _ in range(size)]
    with pytest.raises(NoSpace):
        async with blobs.receive(pieces(*chunks), ANY):
            raise AssertionError("there was no room")
    assert (lie(blobs), arriving(blobs), open_files(blobs)) == (set(), [], [])
    if size < 20:
        disk.clear()
    assert (await kept(blobs, b"later")).size_bytes == 5


@pytest.mark.slow
async def test_a_disk_without_room_for_one_more_file_is_full(disk: Disk) -> None:
    blobs = Blobs(disk.folder / "blobs")
    blobs.prepare()
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", disk.folder], check=True)
    with pytest.raises(NoSpace):
        await kept(blobs, b"no room")
    for inodes in (4, 5):
        subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", disk.folder], check=True)
        with pytest.raises(NoSpace):
            await kept(blobs, b"no room for its folders")
    assert (lie(blobs), arriving(blobs), open_files(blobs)) == (set(), [], [])
    subprocess.run(["mount", "-o", "remount,nr_inodes=100", disk.folder], check=True)
    assert (await kept(blobs, b"room")).size_bytes == 4
