"""Time, randomness and the shared types: instants sort as text, secrets know their own typos, texts fold alike."""

import re
import sqlite3
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import values
from app.values import (
    BASE62,
    address,
    folded,
    instant,
    is_token,
    later,
    like,
    new_key,
    new_number,
    new_request_id,
    new_salt,
    new_secret,
    new_token,
    now,
    seconds,
    source_of,
    unix,
)

YEAR_10000 = 253_402_300_800
moments = st.integers(0, YEAR_10000 * 1000 - 1).map(lambda milliseconds: milliseconds / 1000)


def checksum(body: str) -> str:
    """The six last characters of a token, worked out by hand."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def test_a_token_is_its_prefix_43_characters_and_their_checksum() -> None:
    secret = new_token()
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}", secret)
    assert secret[-6:] == checksum(secret[:-6])
    assert len({new_token() for _ in range(1000)}) == 1000


def test_the_random_part_of_a_token_uses_all_its_room() -> None:
    """256 random bits: no character of the alphabet is missing, and no place but the first few is ever fixed."""
    secrets = [new_token()[4:-6] for _ in range(2000)]
    assert set("".join(secrets)) == set(BASE62)
    assert all(len({secret[place] for secret in secrets}) == 62 for place in range(1, 43))


@given(st.integers(4, 52), st.sampled_from(BASE62))
def test_a_typo_is_noticed_before_the_database_is_asked(place: int, sign: str) -> None:
    secret = new_token()
    typo = secret[:place] + sign + secret[place + 1 :]
    assert is_token(typo) is (typo == secret)
    assert not is_token(secret[:place])
    assert not is_token(secret + sign)


@given(st.integers(4, 51))
def test_two_neighbours_that_changed_places_are_noticed(place: int) -> None:
    secret = new_token()
    swapped = secret[:place] + secret[place + 1] + secret[place] + secret[place + 2 :]
    assert is_token(swapped) is (swapped == secret)


@given(st.text(max_size=60))
def test_no_guess_is_a_token(text: str) -> None:
    assert not is_token(text)
    assert not is_token(("pat_" + text).ljust(53, "0")[:53])


@pytest.mark.parametrize("prefix", ["pat-", "PAT_", "pbt_", "\u0440at_"])
def test_another_prefix_makes_no_token_though_its_checksum_holds(prefix: str) -> None:
    body = prefix + "0" * 43
    assert not is_token(body + checksum(body))
    assert is_token("pat_" + "0" * 43 + checksum("pat_" + "0" * 43))


@given(moments, moments)
def test_instants_are_of_one_width_and_sort_as_the_time_does(one: float, other: float) -> None:
    earlier, not_earlier = sorted((one, other))
    assert instant(earlier) <= instant(not_earlier)
    assert len(instant(one)) == 24
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", instant(one))


@given(moments)
def test_an_instant_is_read_back_to_the_millisecond(at: float) -> None:
    assert at - 0.0011 <= seconds(instant(at)) <= at + 0.0001


@given(moments, st.integers(0, 365 * 86400))
def test_now_and_later_go_by_the_one_clock(at: float, wait_s: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "clock", lambda: at)
        patch.setattr(values, "_known", values._Known(at, time.monotonic()))
        assert now() == instant(at)
        assert now() == instant(at)  # also from the second that it remembers
        assert unix() == at
        if at + wait_s < YEAR_10000:
            assert later(wait_s) == instant(at + wait_s)
            assert later(wait_s) >= now()


def test_an_instant_that_is_known() -> None:
    assert instant(0) == "1970-01-01T00:00:00.000Z"
    assert instant(1_800_000_000.5) == "2027-01-15T08:00:00.500Z"
    assert seconds("2028-02-29T23:59:59.999Z") == 1_835_481_599.999


@pytest.mark.parametrize(
    "text",
    [
        "2027-02-29T00:00:00.000Z",
        "2027-04-31T00:00:00.000Z",
        "2027-13-01T00:00:00.000Z",
        "2027-00-01T00:00:00.000Z",
        "2027-01-00T00:00:00.000Z",
        "2027-01-01T24:00:00.000Z",
        "2027-01-01T00:60:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "",
    ],
)
def test_a_day_or_an_hour_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|does not match|out of range"):
        seconds(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann", "aNN"),
        ("Straße", "STRASSE"),
        ("Ａｎｎ", "ann"),
        ("K", "k"),
        ("É", "e\u0301"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("ﬁt", "FIT"),
        ("\u0390", "\u0390".upper()),
        ("\u1fe7", "\u1fe7".upper()),
    ],
)
def test_what_differs_in_case_or_encoding_alone_folds_alike(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@given(st.text(), st.text(max_size=5))
def test_folding_twice_changes_nothing_and_keeps_names_apart(text: str, more: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(text + "a") != folded(text + "b")


@given(st.text("ab%_\\", max_size=4), st.text("ab%_\\", max_size=6))
def test_a_pattern_finds_exactly_what_contains_the_text(part: str, whole: str) -> None:
    with sqlite3.connect(":memory:") as outside:
        (found,) = outside.execute(r"SELECT ? LIKE ? ESCAPE '\'", (whole, like(part))).fetchone()
    outside.close()
    assert found == (part in whole)


@pytest.mark.parametrize(
    ("ip", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_as_itself_or_as_the_house_it_is_in(ip: str, source: str) -> None:
    assert source_of(ip) == source


@given(st.ip_addresses(v=4))
def test_an_address_inside_ipv6_is_the_same_address(plain: object) -> None:
    assert address(f"::ffff:{plain}") == address(str(plain)) == plain


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "1.2.3.4/24", "010.1.1.1", "::g", "1.2.3.4\n"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        address(text)


def test_request_ids_differ_and_sort_in_their_order() -> None:
    made = [new_request_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert sorted(made) == made


@pytest.mark.parametrize(
    ("make", "pattern"),
    [(new_secret, r"[0-9A-Za-z_-]{43}"), (new_number, "[0-9a-f]{32}"), (new_key, "[0-9a-f]{64}")],
)
def test_secrets_are_of_one_form_and_never_the_same(make: Callable[[], str], pattern: str) -> None:
    made = {make() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(pattern, secret) for secret in made)


def test_salts_are_16_bytes_and_never_the_same() -> None:
    made = {new_salt() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(salt) for salt in made} == {16}
