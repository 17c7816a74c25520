"""Ranges of files: what a client may ask for, and what is ignored or refused."""

import pytest

from app.errors import RangeNotSatisfiable
from app.web.ranges import requested


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes = 1 - 2", (1, 3)),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
        ("bytes=", None),
    ],
)
def test_a_range_is_taken_or_ignored(header: str | None, part: tuple[int, int] | None) -> None:
    assert requested(header, 10) == part


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=0-", 0), ("bytes=-0", 10)]
)
def test_a_range_behind_the_end_is_refused(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        requested(header, size)
    assert refused.value.facts == {"size_bytes": size}
