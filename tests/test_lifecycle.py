"""Ten packages, a model of them, and whatever may be asked of them in whatever order: they do what the model says."""

import itertools
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.packages.survivors import end_survivors, remove_tree
from tests.gated import Gated, Seen, nothing_is_left, snapshot, stops_well
from tests.support import refusal, rows, until
from tests.test_main_job import PACKAGES

pytestmark = [pytest.mark.slow, pytest.mark.nix]

CONCURRENCY = 2
EXAMPLES = 8
STEPS = 100
NAMED = [*itertools.product(["tool", "app", "box-2-link"], ["1.0.0", "1.1.0", "1.2.0"]), ("tool", "1.3.0")]
STATUSES = ["created", "downloading", "downloaded", "activated", "failed"]


@dataclass
class Known:
    """What the model knows of a package. Its last attempt may be `live`, or `cancelling`: that one ends by itself."""

    id: int
    name: str
    version: str
    status: str = "created"
    exists: bool = True
    attempts: list[str] = field(default_factory=list)
    interruptions: int = 0
    failure: str | None = None
    store_path: str | None = None

    @property
    def cancelling(self) -> bool:
        return self.attempts[-1:] == ["cancelling"]

    def begin(self) -> None:
        """A download was accepted."""
        self.status, self.failure, self.interruptions = "downloading", None, 0
        self.attempts.append("live")

    def end(self, attempt: str, status: str, failure: str | None = None) -> None:
        """The last attempt has ended, and the package with it."""
        self.attempts[-1], self.status, self.failure = attempt, status, failure

    def may_be(self) -> set[str]:
        return {"downloading", "created"} if self.cancelling else {self.status}

    def agrees(self, seen: Seen) -> bool:
        """True when the package looks as the model says; a cancel may have taken effect by now."""
        *before, last = self.attempts or [""]
        lasts = {"live": {"queued", "running"}, "cancelling": {"running", "cancelled"}}.get(last, {last})
        return (
            seen.status in self.may_be()
            and (seen.store_path, seen.failure) == (self.store_path, self.failure)
            and seen.attempts[: len(before)] == before
            and len(seen.attempts) == len(self.attempts)
            and (seen.attempts[-1] if seen.attempts else "") in lasts
        )


OFTEN = (
    ["download"] * 5 + ["cancel"] * 5 + ["end_a_build"] * 4 + ["activate", "rollback"] * 3 + ["delete", "create_again"]
)
MOVES = [*OFTEN * 2, "look", "collect_garbage", "pull_the_plug", "stop_the_service"]


class Lifecycle(RuleBasedStateMachine):
    """Ten packages and what a model says of them. A build ends only when it is told to, so the model is exact; but how
    long a cancelled one takes to end is its own affair: until then both answers are right.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.box = Gated(folder, BUILD_CONCURRENCY=str(CONCURRENCY))
        self.box.start()
        self.http = self.box.client()
        self.moves: list[tuple[str, int, bool]] = []
        self.queue: list[Known] = []  # live and not cancelled, in the order in which they are built
        self.stacks: dict[str, list[Known]] = {name: [] for name, _ in NAMED}
        self.generations: dict[str, int] = {name: 0 for name, _ in NAMED}
        self.in_store: set[str] = set()
        self.packages = [Known(number + 1, *named) for number, named in enumerate(NAMED)]
        for package in self.packages:
            assert self.box.create(package.name, package.version) == package.id
        self.newest_id = len(NAMED)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Prints a failure where it happens: hypothesis repeats it, and hides the first when the second is another."""
        try:
            yield
        except AssertionError:
            print(f"after {self.moves}\n{traceback.format_exc()}")
            raise

    def post(self, package: Known, action: str) -> httpx2.Response:
        return self.http.post(f"{PACKAGES}/{package.id}/{action}")

    def get(self, package: Known, what: str = "") -> Any:
        return self.http.get(f"{PACKAGES}/{package.id}{what}").json()

    def pick(self, at: int, states: list[str]) -> Known:
        """One of the packages in these states, if there is any; else any, also one that was deleted."""
        fitting = [one for one in self.packages if one.exists and one.status in states]
        return fitting[at % len(fitting)] if fitting else self.packages[at]

    def refused(self, package: Known, answer: httpx2.Response, states: set[str]) -> None:
        """Checks a 409 with one of the states; a cancel shows in it that it has taken effect."""
        state = refusal(answer, 409, "CONFLICT")["state"]
        assert state in states
        if package.cancelling and state == "created":
            package.end("cancelled", "created")

    # One rule for all moves: hypothesis would leave out most of several rules in most of its examples.

    @rule(move=st.sampled_from(MOVES), at=st.integers(0, len(NAMED) - 1), aimed=st.booleans())
    def step(self, move: str, at: int, aimed: bool) -> None:
        """Does one thing to one package; `aimed` at one with which there is something to do."""
        self.moves.append((move, at, aimed))
        with self.telling():
            getattr(self, move)(at, aimed)

    # moves: each is a call, what the model foretells, and the model's own step

    def download(self, at: int, aimed: bool) -> None:
        package = self.pick(at, ["created", "failed"] if aimed else [])
        answer = self.post(package, "download")
        if not package.exists:
            refusal(answer, 404, "NOT_FOUND")
            return
        own = {"id": package.id, "name": package.name, "version": package.version}
        if package.status in ("downloaded", "activated"):
            assert (answer.status_code, answer.json()) == (200, {"status": package.status, **own})
            return
        if answer.status_code == 409:
            assert package.cancelling
            assert refusal(answer, 409, "CONFLICT")["state"] == "cancelling"
            return
        assert answer.status_code == 202
        number, live = answer.json()["attempt"], answer.json()["attempt_status"]
        if package.cancelling:
            package.end("cancelled", "created")
        if package.status in ("created", "failed"):
            package.begin()
            self.queue.append(package)
            assert live == "queued"
        assert number == len(package.attempts)
        assert live in ("queued", "running")
        assert answer.json() == {"status": "downloading", **own, "attempt": number, "attempt_status": live}

    def cancel(self, at: int, aimed: bool) -> None:
        package = self.pick(at, ["downloading"] if aimed else [])
        answer = self.post(package, "cancel")
        if not package.exists:
            refusal(answer, 404, "NOT_FOUND")
        elif answer.status_code == 202:
            assert package.status == "downloading"
            assert answer.json() == {"status": "cancelling", "id": package.id, "attempt": len(package.attempts)}
            if package in self.queue:
                self.queue.remove(package)
                package.attempts[-1] = "cancelling"
        else:
            assert package not in self.queue
            self.refused(package, answer, package.may_be() - {"downloading"})

    def delete(self, at: int, aimed: bool) -> None:
        package = self.pick(at, ["created", "failed", "downloaded"] if aimed else [])
        answer = self.http.delete(f"{PACKAGES}/{package.id}")
        if not package.exists:
            refusal(answer, 404, "NOT_FOUND")
        elif answer.status_code == 204:
            assert package.may_be() & {"created", "downloaded", "failed"}
            package.exists = False
            assert self.http.get(f"{PACKAGES}/{package.id}").status_code == 404
        else:
            self.refused(package, answer, package.may_be() & {"downloading", "activated"})

    def create_again(self, at: int, aimed: bool) -> None:
        gone = [package for package in self.packages if not package.exists]
        old = gone[at % len(gone)] if aimed and gone else self.packages[at]
        at = self.packages.index(old)
        if not old.exists:
            self.box.prepare(old.name, old.version)
        answer = self.http.post(PACKAGES, json={"name": old.name, "version": old.version})
        if old.exists:
            refusal(answer, 409, "CONFLICT")
            return
        assert answer.status_code == 201
        self.newest_id += 1
        self.packages[at] = Known(self.newest_id, old.name, old.version)
        assert answer.json()["id"] == self.newest_id
        assert answer.json() == self.get(self.packages[at])

    def end_a_build(self, at: int, aimed: bool) -> None:
        """One of the builds that run, or will when a cancelled one has ended, is let through; one in three fails."""
        if not self.queue:
            return
        package = self.queue.pop(at % min(CONCURRENCY, len(self.queue)))
        fails = at % 3 == 0
        self.box.tell(package.name, package.version, "fail" if fails else "go")
        found = self.box.settled(package.id)
        if fails:
            package.end("failed", "failed", "build")
            return
        package.end("succeeded", "downloaded")
        package.store_path = found["store_path"]
        assert Path(found["store_path"]).read_text() == f"{package.name}-{package.version}\n"
        assert found["closure_bytes"] > 0
        self.in_store.add(found["store_path"])

    def activate(self, at: int, aimed: bool) -> None:
        package = self.pick(at, ["downloaded"] if aimed else [])
        answer = self.post(package, "activate")
        if not package.exists:
            refusal(answer, 404, "NOT_FOUND")
        elif package.status == "downloaded":
            self.switch(package)
            self.stacks[package.name].append(package)
            self.switched(package, answer)
        elif package.status == "activated":
            self.switched(package, answer)
        else:
            self.refused(package, answer, package.may_be())

    def rollback(self, at: int, aimed: bool) -> None:
        package = self.pick(at, ["activated"] if aimed else [])
        answer = self.post(package, "rollback")
        if not package.exists:
            refusal(answer, 404, "NOT_FOUND")
        elif package.status == "activated" and (wanted := self.before(package)):
            self.switch(wanted)
            stack = self.stacks[package.name]
            while stack[-1] is not wanted:
                stack.pop()
            self.switched(wanted, answer, from_id=package.id)
        else:
            self.refused(package, answer, package.may_be())

    def before(self, active: Known) -> Known | None:
        """Where a rollback leads."""
        stack = [one for one in self.stacks[active.name] if one.exists and one.status == "downloaded"]
        return stack[-1] if stack else None

    def switch(self, package: Known) -> None:
        for other in self.packages:
            if other.name == package.name and other.status == "activated":
                other.status = "downloaded"
        package.status = "activated"
        self.generations[package.name] += 1

    def switched(self, package: Known, answer: httpx2.Response, **more: int) -> None:
        """Checks the answer to an activation or a rollback, and the profile."""
        before = self.before(package)
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "status": "activated",
                "id": package.id,
                "name": package.name,
                "version": package.version,
                "profile": str(self.box.data_dir / "profiles" / package.name / "current"),
                "store_path": package.store_path,
                "generation": self.generations[package.name],
                "previous_id": before.id if before else None,
                **more,
            },
        )

    def look(self, at: int, aimed: bool) -> None:
        status = STATUSES[at % len(STATUSES)] if aimed else None
        wanted = {"limit": 100} | ({"status": status} if status else {})
        listed = {found["id"]: found for found in self.http.get(PACKAGES, params=wanted).json()}
        for package in self.existing():
            may_be = package.may_be()
            assert (package.id in listed) or (may_be - {status} if status else False), package
            if found := listed.pop(package.id, None):
                assert found["status"] in may_be & {status or found["status"]}
                assert found["active"] == (found["status"] == "activated")
                assert (found["name"], found["version"]) == (package.name, package.version)
                assert (found["store_path"], found["failure"]) == (package.store_path, package.failure)
        assert listed == {}
        if self.packages[at].exists:
            numbers = [attempt["number"] for attempt in self.get(self.packages[at], "/attempts")]
            assert numbers == [*range(1, len(self.packages[at].attempts) + 1)]

    def collect_garbage(self, at: int, aimed: bool) -> None:
        self.box.collect_garbage()
        self.in_store = {one.store_path for one in self.existing() if one.store_path}

    def pull_the_plug(self, at: int, aimed: bool) -> None:
        self.restart(self.box.kill, settle=aimed)

    def stop_the_service(self, at: int, aimed: bool) -> None:
        self.restart(partial(stops_well, self.box), settle=aimed)

    def restart(self, end: Callable[[], object], *, settle: bool) -> None:
        """What was being built is interrupted; when `settle`, exactly the builds that the model says were running."""
        if settle:
            until(self.is_settled, "every build that can has begun, and every cancel has taken effect")
        self.http.close()
        end()
        self.box.start()
        self.http = self.box.client()
        seen = snapshot(self.box)
        for package in self.existing():
            if package.cancelling:
                assert seen[package.id].attempts[-1] == "cancelled"
                package.end("cancelled", "created")
        interrupted = [one for one in self.queue if seen[one.id].attempts[len(one.attempts) - 1] == "interrupted"]
        assert interrupted == self.queue[: len(interrupted)]
        assert len(interrupted) == min(len(self.queue), CONCURRENCY) or not settle
        for package in interrupted:
            self.interrupt(package)
        order = [row["package_id"] for row in rows(self.box.database, LIVE_IN_ORDER)]
        self.queue.sort(key=lambda package: order.index(package.id))

    def interrupt(self, package: Known) -> None:
        package.attempts[-1] = "interrupted"
        package.interruptions += 1
        if package.interruptions < 3:
            package.attempts.append("live")
        else:
            package.end("interrupted", "failed", "interrupted")
            self.queue.remove(package)

    def is_settled(self) -> bool:
        seen = snapshot(self.box)
        running = [one for one in self.existing() if seen[one.id].attempts[-1:] == ["running"]]
        return {one.id for one in running} == {one.id for one in self.queue[:CONCURRENCY]}

    def existing(self) -> list[Known]:
        return [package for package in self.packages if package.exists]

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        with self.telling():
            self.compare(snapshot(self.box))

    def compare(self, seen: dict[int, Seen]) -> None:
        assert seen.keys() == {package.id for package in self.existing()}
        for package in self.existing():
            assert package.agrees(seen[package.id]), (package, seen[package.id])
            if package.status == "activated":
                assert self.box.profile(package.name) == package.store_path
        assert self.box.roots() == {one.id: one.store_path for one in seen.values() if one.is_there}
        assert self.box.built() == self.in_store

    def teardown(self) -> None:
        try:
            while self.queue:
                self.end_a_build(1, aimed=True)
                self.cancel(len(self.queue), aimed=True)
            until(self.is_settled, "every cancel has taken effect")
            self.all_is_as_the_model_says()
            nothing_is_left(self.box)
            self.http.close()
            stops_well(self.box)
        finally:
            self.box.kill()
            end_survivors(self.box.data_dir / "tmp")
            remove_tree(self.box.folder)


LIVE_IN_ORDER = "SELECT package_id FROM package_attempts WHERE status IN ('queued', 'running') ORDER BY id"


def test_ten_packages_do_what_the_model_says_whatever_is_asked_of_them(tmp_path: Path) -> None:
    number = itertools.count()
    run_state_machine_as_test(
        lambda: Lifecycle(tmp_path / str(next(number))),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,  # the same in every run; what chance finds belongs into longer ones
            database=None,
            phases=[Phase.generate],  # an example takes seconds: to make a failing one shorter would take minutes
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
