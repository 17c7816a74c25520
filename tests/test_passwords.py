"""Passwords: which are taken, that only the right one matches, what a guess costs, and who is served when many ask."""

import asyncio
import gc
import os
import re
import statistics
import subprocess
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from time import perf_counter
from typing import Any

import pytest

from app import passwords as module
from app.errors import Invalid, Unavailable
from app.passwords import AT_ONCE, MOST_WAITING, MOST_WAITING_OF_A_CALLER, NICENESS, Cost, Passwords, Turns, check
from app.passwords import outdated as is_outdated
from tests.support import ROOT

HANG_S = 60
"""How long a test waits for what must happen before it says that it never will."""

PASSWORD = "correct horse battery staple"
SALT = "AAECAwQFBgcICQoLDA0ODw"  # 00 01 … 0f
KEY = "D7lSJtJDGLLVcrxL7dWjkoRxbs+pMvcVYIJ+gbuyltk"  # `openssl kdf … SCRYPT` says the same
HASHED = f"$scrypt$ln=14,r=8,p=5${SALT}${KEY}"


@pytest.fixture(scope="module", autouse=True)
def cheap_hashes() -> None:
    """Here they cost what they do for everybody."""


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    """Closed at the end, with nothing said to the loop about errors that nobody fetched."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    own = Passwords()
    yield own
    await asyncio.wait_for(own.close(), HANG_S)
    gc.collect()  # an error that nobody fetched is reported when it goes
    asyncio.get_running_loop().set_exception_handler(None)
    assert said == []


# Which passwords are taken


@pytest.mark.parametrize("password", ["8 chars.", "x" * 128, "pässwörd", "𐍈" * 8, PASSWORD, "ann@example.org2"])
def test_a_password_that_is_no_obvious_guess_is_taken(password: str) -> None:
    check(password, field="/password", email="ann@example.org", username="ann.example")


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("", "expected 8 to 128 characters"),
        ("7 chars", "expected 8 to 128 characters"),
        ("x" * 129, "expected 8 to 128 characters"),
        (unicodedata.normalize("NFD", "äöüé"), "expected 8 to 128 characters"),
        ("ann@example.org", "expected something other than the e-mail address or the username"),
        ("Ann@EXAMPLE.org", "expected something other than the e-mail address or the username"),
        ("Zoë.Straße", "expected something other than the e-mail address or the username"),
        (
            unicodedata.normalize("NFD", "zoë.strasse"),
            "expected something other than the e-mail address or the username",
        ),
        ("12345678", "expected a less common password: this one is among the first that are tried"),
        ("TrustNo1", "expected a less common password: this one is among the first that are tried"),
        ("ｓｔａｒｗａｒｓ", "expected a less common password: this one is among the first that are tried"),
    ],
)
def test_an_obvious_guess_is_refused_without_being_shown(password: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(password, field="/new_password", email="ann@example.org", username="zoë.straße")
    assert caught.value.facts == {"errors": [{"field": "/new_password", "message": message}]}
    assert caught.value.detail == f"/new_password: {message}"
    assert not password or password not in caught.value.detail


def test_an_account_without_names_has_the_other_rules() -> None:
    check("ann@example.org", field="/password", email=None, username=None)
    with pytest.raises(Invalid, match="less common"):
        check("iloveyou", field="/password", email=None, username=None)


def test_the_thousand_commonest_are_a_thousand_and_refused_in_capitals_too() -> None:
    head, *commonest = files("app").joinpath("common_passwords.txt").read_text("utf-8").splitlines()
    assert head.startswith("# ")
    assert len(commonest) == len({*commonest}) == 1000
    assert commonest[:5] == ["123456789", "password", "12345678", "password1", "1234567890"]
    assert min(map(len, commonest)) >= 8
    for password in commonest:
        for form in (password, password.upper()):
            with pytest.raises(Invalid, match="less common"):
                check(form, field="/password", email=None, username=None)


# What is stored, and what matches


@pytest.mark.parametrize(
    ("password", "salt", "cost", "begins"),
    [
        ("password", b"NaCl", Cost(10, 8, 16), "fdbabe1c9d347200 7856e7190d01e9fe"),
        ("pleaseletmein", b"SodiumChloride", Cost(14, 8, 1), "7023bdcb3afd7348 461c06cd81fd38eb"),
    ],
)
def test_the_key_is_that_of_the_rfc(password: str, salt: bytes, cost: Cost, begins: str) -> None:
    """RFC 7914, 12."""
    assert module._key(password, salt, cost)[:16] == bytes.fromhex(begins)


def test_a_hash_is_written_with_its_parameters_and_salt() -> None:
    assert module._hashed(PASSWORD, bytes(range(16))) == HASHED


async def test_only_the_right_password_matches(passwords: Passwords) -> None:
    assert await passwords.verify(PASSWORD, HASHED) is True
    assert await passwords.verify(PASSWORD + " ", HASHED) is False


async def test_each_hash_has_a_salt_of_its_own(passwords: Passwords) -> None:
    first, second = await asyncio.gather(passwords.hash(PASSWORD), passwords.hash(PASSWORD))
    assert first != second
    assert re.fullmatch(r"\$scrypt\$ln=14,r=8,p=5\$[\w+/]{22}\$[\w+/]{43}", first)
    assert await asyncio.gather(*(passwords.verify(PASSWORD, hashed) for hashed in (first, second))) == [True, True]


async def test_a_composed_and_a_decomposed_password_are_the_same(passwords: Passwords) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoës Schlüssel") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert await passwords.verify(composed, await passwords.hash(decomposed))
    assert await passwords.verify(decomposed, await passwords.hash(composed))


MALFORMED = [
    "",
    PASSWORD,
    HASHED[:-1],
    HASHED + "A",
    HASHED + "\n",
    HASHED.replace("ln=14", "ln=014"),
    HASHED.replace("ln=14", "ln=١٤"),  # digits, but not ours
    HASHED.replace("ln=14", "ln=0"),
    HASHED.replace("ln=14", "ln=16"),  # 64 MiB and a little
    HASHED.replace("ln=14", "ln=99"),
    HASHED.replace("ln=14,r=8", "ln=16,r=1"),  # RFC 7914, 2: N < 2 ^ (128 * r / 8)
    HASHED.replace("scrypt", "argon2id"),
    HASHED.replace(SALT, SALT[:-1] + "="),
]


@pytest.mark.parametrize("hashed", MALFORMED)
async def test_a_malformed_hash_matches_nothing(passwords: Passwords, hashed: str) -> None:
    assert await passwords.verify(PASSWORD, hashed) is False
    assert is_outdated(hashed)


async def test_no_password_matches_where_there_is_no_hash(passwords: Passwords) -> None:
    assert await passwords.verify(PASSWORD, None) is False


@pytest.mark.slow
async def test_a_guess_takes_as_long_whatever_is_wrong(passwords: Passwords) -> None:
    """Given a wrong password, no account, and malformed hashes, tried in turn: the medians are alike."""
    tried = {"wrong": HASHED, "nobody": None, "malformed": "x", "too much memory": HASHED.replace("ln=14", "ln=20")}
    took: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(5):
        for name, hashed in tried.items():
            began = perf_counter()
            assert not await passwords.verify("a guess", hashed)
            took[name].append(perf_counter() - began)
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    assert max(medians.values()) < 2 * min(medians.values()), medians


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("ln=14,r=8,p=5", False),
        ("ln=15,r=8,p=5", False),
        ("ln=14,r=9,p=6", False),
        ("ln=13,r=8,p=5", True),
        ("ln=14,r=7,p=5", True),
        ("ln=14,r=8,p=4", True),
        ("ln=15,r=8,p=1", True),
    ],
)
def test_a_hash_below_the_parameters_of_today_is_outdated(parameters: str, expected: bool) -> None:
    assert is_outdated(f"$scrypt${parameters}${SALT}${KEY}") is expected


async def test_a_hash_with_other_parameters_is_verified_with_its_own(passwords: Passwords) -> None:
    old = f"$scrypt$ln=10,r=8,p=1${SALT}$mp90zEQd5XGhjEv4WArVH4Z0XRSzkGWtJK2S/AXJlRU"
    assert await passwords.verify(PASSWORD, old) is True
    assert await passwords.verify(PASSWORD, HASHED.replace("p=5", "p=4")) is False


# Off the event loop


async def test_the_threads_have_all_cores_and_give_way(passwords: Passwords) -> None:
    """Given a loop that is kept to one core, as `pkgctl serve` does."""

    def thread() -> tuple[set[int], int, str]:
        own = threading.get_native_id()
        return os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, own), threading.current_thread().name

    cores, niceness = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        given, theirs, name = await passwords.turns.run("", thread)
        assert os.sched_getaffinity(0) == {max(cores)}
    finally:
        os.sched_setaffinity(0, cores)
    assert (given, theirs) == (cores, min(19, niceness + NICENESS))
    assert os.getpriority(os.PRIO_PROCESS, 0) == niceness
    assert name.startswith("purser-passwords")


@pytest.mark.slow
async def test_the_loop_is_not_disturbed_by_hashing(passwords: Passwords) -> None:
    """Given a loop on one core that looks up every millisecond: while hashes are computed it is late by little."""
    late: list[float] = []

    async def look_up() -> None:
        while True:
            began = perf_counter()
            await asyncio.sleep(0.001)
            late.append(perf_counter() - began - 0.001)

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    looking = asyncio.create_task(look_up())
    try:
        began = perf_counter()
        await asyncio.gather(*(passwords.verify(PASSWORD, None, str(n)) for n in range(8)))
        hash_s = (perf_counter() - began) / 4
    finally:
        looking.cancel()
        os.sched_setaffinity(0, cores)
    assert len(late) > 20
    assert statistics.quantiles(late, n=20)[-1] < hash_s / 4


MEMORY = """
import asyncio, gc, re
from pathlib import Path
from app.passwords import Passwords

def mib(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

async def main():
    passwords = Passwords()
    await passwords.turns.run("", gc.collect)
    before = mib("VmRSS")
    await asyncio.gather(*(passwords.hash("correct horse", str(n)) for n in range(COUNT)))
    print(mib("VmHWM") - before, mib("VmRSS") - before)
    await passwords.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_hashes_take_the_memory_of_two_and_give_it_back() -> None:
    code = MEMORY.replace("COUNT", "12")
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    peak_mib, left_mib = map(float, run.stdout.split())
    assert 16 < peak_mib < 2 * 18 + 4
    assert left_mib < 8


# Who is served when many ask


class Gate:
    """A computation that holds its thread until it is let go."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> str:
        self._entered.set()
        assert self._opened.wait(HANG_S)
        return "passed"

    def open(self) -> None:
        self._opened.set()

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, HANG_S)


class Scene:
    """Both threads held, so that what is queued stays; let one go, and the other serves what waits one by one."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.gates = [Gate() for _ in range(AT_ONCE)]
        self.running: list[asyncio.Task[str]] = []
        self.waiting: list[asyncio.Task[None]] = []
        self.served: list[str] = []

    async def begin(self) -> None:
        self.running = [asyncio.create_task(self.turns.run("running", gate)) for gate in self.gates]
        for gate in self.gates:
            await gate.entered()

    async def ask(self, *names: str) -> list[asyncio.Task[None]]:
        """One more waits for each name, "a1" for the caller "a"; in this order."""

        def served(name: str) -> Callable[[], None]:
            return lambda: self.served.append(name)

        asked = [asyncio.create_task(self.turns.run(name[0], served(name))) for name in names]
        self.waiting += asked
        await asyncio.sleep(0)  # each begins and queues
        return asked

    async def one_serves(self) -> list[str]:
        """Lets one thread go; the order in which it served what waited."""
        self.gates[0].open()
        await asyncio.wait_for(asyncio.gather(*self.waiting, return_exceptions=True), HANG_S)
        return self.served


@pytest.fixture
async def scene(passwords: Passwords) -> AsyncIterator[Scene]:
    own = Scene(passwords.turns)
    await own.begin()
    yield own
    for gate in own.gates:
        gate.open()
    await asyncio.wait_for(asyncio.gather(*own.running, *own.waiting, return_exceptions=True), HANG_S)


async def test_two_are_computed_at_once_and_never_more(passwords: Passwords) -> None:
    counting = threading.Lock()
    now = most = 0

    def compute() -> None:
        nonlocal now, most
        with counting:
            now += 1
            most = max(most, now)
        module._key(PASSWORD, b"", Cost(10, 8, 1))
        with counting:
            now -= 1

    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*(passwords.turns.run(str(n % 7), compute) for n in range(50)))
    assert (now, most) == (0, AT_ONCE)


async def test_callers_are_served_in_turn(scene: Scene) -> None:
    await scene.ask("a1", "a2", "a3", "a4", "b1", "c1", "c2")
    assert await scene.one_serves() == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]


async def test_a_flood_from_one_caller_keeps_another_waiting_for_one_of_it(scene: Scene) -> None:
    await scene.ask(*(f"a{n}" for n in range(200)))
    await scene.ask("b1")
    assert (await scene.one_serves())[:3] == ["a0", "b1", "a1"]


async def test_the_address_a_password_comes_from_is_the_caller(passwords: Passwords, scene: Scene) -> None:
    order: list[str] = []

    async def sign_in(caller: str) -> None:
        await passwords.verify(PASSWORD, None, caller)
        order.append(caller)

    async def sign_up(caller: str) -> None:
        await passwords.hash(PASSWORD, caller)
        order.append(caller)

    asked = [asyncio.create_task(one) for one in (sign_in("::1"), sign_in("::1"), sign_in("::2"), sign_up("::3"))]
    await asyncio.sleep(0)
    scene.gates[0].open()
    await asyncio.wait_for(asyncio.gather(*asked), HANG_S)
    assert order == ["::1", "::2", "::3", "::1"]


async def test_who_leaves_the_queue_is_not_computed(scene: Scene) -> None:
    asked = await scene.ask("a1", "a2", "b1", "c1")
    for leaving in (asked[0], asked[2]):
        leaving.cancel()
    assert await scene.one_serves() == ["a2", "c1"]
    assert [one.cancelled() for one in asked] == [True, False, True, False]


async def test_who_leaves_in_the_moment_of_its_turn_takes_nobody_elses(scene: Scene) -> None:
    """Given a thread that has come free, which the loop hears of just before the next in the queue is cancelled."""
    asked = await scene.ask("a1", "a2", "b1")
    scene.gates[0].open()
    scene.turns._threads.submit(str).result(HANG_S)  # the loop stands still; the free thread did this and told it
    asyncio.get_running_loop().call_soon(asked[0].cancel)
    assert await scene.one_serves() == ["a2", "b1"]
    assert asked[0].cancelled()


async def test_what_runs_for_nobody_keeps_its_thread_until_it_ends(scene: Scene) -> None:
    """Were the threads counted as free before, a1 and a2 would both be taken at once, ahead of b1."""
    for running in scene.running:
        running.cancel()
    await asyncio.wait(scene.running)
    await scene.ask("a1", "a2", "b1")
    assert await scene.one_serves() == ["a1", "b1", "a2"]
    assert all(running.cancelled() for running in scene.running)


async def test_an_error_is_the_callers_and_frees_the_thread(passwords: Passwords) -> None:
    def fail() -> None:
        raise MemoryError("no more")

    for _ in range(AT_ONCE + 1):
        with pytest.raises(MemoryError, match="no more"):
            await passwords.turns.run("a", fail)
    assert await passwords.turns.run("a", lambda: "well") == "well"


async def test_an_error_that_nobody_waits_for_is_not_reported(passwords: Passwords) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise MemoryError("no more")

    running = asyncio.create_task(passwords.turns.run("a", fail))
    await gate.entered()
    running.cancel()
    await asyncio.wait([running])
    gate.open()  # the fixture asserts that the loop was told nothing


async def test_a_caller_may_have_so_many_waiting(scene: Scene) -> None:
    await scene.ask(*["a"] * MOST_WAITING_OF_A_CALLER)
    with pytest.raises(Unavailable) as caught:
        await scene.turns.run("a", str)
    assert caught.value.facts["retry_after_s"] >= 1
    await scene.ask("b1")
    assert "b1" in (await scene.one_serves())[:2]


async def test_so_many_may_wait_in_all_and_who_leaves_makes_room(scene: Scene) -> None:
    callers = [chr(ord("a") + n // 200) for n in range(MOST_WAITING)]
    asked = await scene.ask(*callers)
    with pytest.raises(Unavailable, match="Too many"):
        await scene.turns.run("z", str)
    asked[-1].cancel()
    await asyncio.wait(asked[-1:])
    [taken] = await scene.ask("z1")
    assert not taken.done()
    served = await scene.one_serves()
    assert (len(served), served.index("z1")) == (MOST_WAITING, 5)


async def test_closing_refuses_who_waits_and_lets_end_what_runs(scene: Scene) -> None:
    asked = await scene.ask("a1", "a2", "b1")
    asked[1].cancel()  # has no time to leave before the queue is closed
    closing = asyncio.create_task(scene.turns.close())
    await asyncio.wait(asked, timeout=HANG_S)
    assert isinstance(asked[0].exception(), Unavailable)
    assert asked[1].cancelled()
    assert isinstance(asked[2].exception(), Unavailable)
    with pytest.raises(Unavailable, match="stopping"):
        await scene.turns.run("c", str)
    assert not closing.done()
    for gate in scene.gates:
        gate.open()
    await asyncio.wait_for(closing, HANG_S)
    assert [one.result() for one in scene.running] == ["passed", "passed"]
    assert scene.served == []


async def test_after_closing_nothing_is_computed(passwords: Passwords) -> None:
    assert await passwords.turns.run("a", str) == ""
    await passwords.close()
    for call in (passwords.hash(PASSWORD), passwords.verify(PASSWORD, HASHED)):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.facts["retry_after_s"] >= 1
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("purser-passwords")]
    for thread in threads:
        thread.join(HANG_S)
    assert not any(thread.is_alive() for thread in threads)
