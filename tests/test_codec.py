"""JSON at the door: what is refused names the field, what was expected and what came; nothing else gets through."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.errors import Invalid, PurserError, TooLarge
from app.web.codec import (
    ClientGone,
    body,
    decode,
    no_query,
    query,
    raw_body,
    respond,
    too_large,
    typed,
    unstorable,
)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: int = 0
    words: list[Annotated[str, msgspec.Meta(max_length=3)]] = []


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=70)]
    kind: Literal["big", "small"] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None
    slug: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+$(?!\n)", description="small letters")] | None = None
    password: Annotated[str, msgspec.Meta(min_length=8)] | None = None
    new_secret_hint: int | None = None
    refresh_Token: int | None = None
    inner: Inner = msgspec.field(default_factory=Inner)
    on: bool = False


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    q: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    count: bool = False
    sort: Literal["name", "-name"] = "name"
    token: int | None = None


def refused(raw: bytes | str) -> PurserError:
    with pytest.raises(Invalid) as raised:
        decode(raw.encode() if isinstance(raw, str) else raw, Thing)
    return raised.value


def field(refusal: PurserError) -> tuple[str, str]:
    (error,) = refusal.facts["errors"]
    assert refusal.detail == f"{error['field']}: {error['message']}"
    return error["field"], error["message"]


def request(*messages: dict[str, Any], query_string: bytes = b"") -> Request:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return Request({"type": "http", "headers": [], "query_string": query_string}, receive)


def chunk(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


@pytest.mark.parametrize(
    ("raw", "name", "message"),
    [
        ("{}", "/name", "required, and missing"),
        ('{"name":"a","nam":1}', "/nam", "unknown field"),
        ('{"name":"a","a/b~c":1}', "/a~1b~0c", "unknown field"),
        ('{"name":"a","inner":{"x":1}}', "/inner/x", "unknown field"),
        ('{"name":5}', "/name", "expected `str`, not 5"),
        ('{"name":null}', "/name", "expected `str`, not null"),
        ('{"name":true}', "/name", "expected `str`, not true"),
        ('{"name":1.5}', "/name", "expected `str`, not 1.5"),
        ('{"name":""}', "/name", 'expected `str` of length >= 1, not ""'),
        ('{"name":{"a":1}}', "/name", "expected `str`, got `object`"),
        ('{"name":["a"]}', "/name", "expected `str`, got `array`"),
        ('{"name":"a","on":"yes"}', "/on", 'expected `bool`, not "yes"'),
        ('{"name":"a","count":"3"}', "/count", 'expected `int | null`, not "3"'),
        ('{"name":"a","count":0}', "/count", "expected `int` >= 1, not 0"),
        ('{"name":"a","count":9223372036854775808}', "/count", "expected `int` <= 5, not 9223372036854775808"),
        ('{"name":"a","kind":"huge"}', "/kind", 'expected `big` or `small`, not "huge"'),
        ('{"name":"a","kind":7}', "/kind", "expected `str | null`, not 7"),
        ('{"name":"a","slug":"A b"}', "/slug", 'expected small letters, not "A b"'),
        ('{"name":"a","slug":"abc\\n"}', "/slug", 'expected small letters, not "abc\\n"'),
        (
            '{"name":"a","inner":{"words":["one","four"]}}',
            "/inner/words/1",
            'expected `str` of length <= 3, not "four"',
        ),
        ('{"name":"a","inner":{"size":"x"}}', "/inner/size", 'expected `int`, not "x"'),
        ("[]", "/", "expected `object`, got `array`"),
        ('"text"', "/", "expected `object`, got `str`"),
        ("null", "/", "expected `object`, got `null`"),
    ],
)
def test_a_refused_value_names_field_rule_and_what_came(raw: str, name: str, message: str) -> None:
    assert field(refused(raw)) == (name, message)


def test_what_came_is_cut_short() -> None:
    _, message = field(refused('{"name":"' + "x" * 500_000 + '"}'))
    came = message.removeprefix("expected `str` of length <= 70, not ")
    assert came == '"' + "x" * 58 + "…"
    _, message = field(refused('{"name":"a","count":' + "9" * 400 + "}"))
    assert message == "expected `int` <= 5, not " + "9" * 59 + "…"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ('{"name":"a","password":"s3same"}', "/password"),
        ('{"name":"a","new_secret_hint":"s3same"}', "/new_secret_hint"),
        ('{"name":"a","refresh_Token":"s3same"}', "/refresh_Token"),
        ('{"name":{"password":"s3same"}}', "/name"),
        ('{"name":["s3same"]}', "/name"),
        ('{"name":"a","count":"pat_s3same"}', "/count"),
        ('{"name":"a","count":"eyJs3same.s3same.s3same"}', "/count"),
        ('{"name":"a","hunter":"s3same"}', "/hunter"),
        ('"s3same"', "/"),
    ],
)
def test_what_may_be_secret_is_not_repeated(raw: str, name: str) -> None:
    refusal = refused(raw)
    assert field(refusal)[0] == name
    assert "s3same" not in refusal.detail


@pytest.mark.parametrize(
    "raw",
    [
        *(b"{", b'{"name":"a"}x', b"name=a", b'{"name":"a",}', b"{'name':'a'}", b"\xff\xfe", b'{"name":"\xff"}', b"\0"),
        *(b'{"name":"\x00"}', b'{"name":"a\nb"}', rb'{"name":"\ud800"}', rb'{"name":"\udc00\ud800"}', b"NaN"),
        *(b'{"name":"a","count":NaN}', b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"name":' + b"[" * 100_000),
        *(b'{"zz":' * 100_000, b'{"name":"a","count":1e999}', b'{"name":"a","count":-}', b'{"name":"\xed\xa0\x80"}'),
        *(b'{"name":"a","count":' + b"9" * 5000 + b"}", rb'{"name":"\u0000"}', rb'{"name":"a\u0000b"}'),
        *(rb'{"\u0000":1,"name":"a"}', rb'{"\ud800":1,"name":"a"}'),
    ],
)
def test_hostile_bodies_are_refused_as_invalid(raw: bytes) -> None:
    assert refused(raw).code == "VALIDATION_ERROR"


def test_nul_is_refused_wherever_it_hides_and_named() -> None:
    assert field(refused(rb'{"name":"a\u0000"}'))[0] == "/name"
    raw = rb'{"name":"a","inner":{"words":["x","\u0000"]}}'
    assert field(refused(raw)) == ("/inner/words/1", "expected text without NUL characters or lone surrogates")


def test_text_of_any_language_is_taken() -> None:
    assert decode('{"name":"Käse 🧀 \\ud83e\\uddc0 \\u00e9"}'.encode(), Thing).name == "Käse 🧀 🧀 é"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_thing_or_invalid(raw: bytes) -> None:
    try:
        found = decode(raw, Thing)
    except Invalid:
        return
    assert isinstance(found, Thing)


nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a.b", "[0]", ""]), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*Thing.__struct_fields__, "` - at `$.x", "a.b", "", "0"]), nested, max_size=5))
def test_any_json_is_a_thing_or_invalid(document: dict[str, Any]) -> None:
    try:
        found = decode(msgspec.json.encode(document), Thing)
    except Invalid as refusal:
        name, message = field(refusal)
    else:
        name, message = "/", found.name
    assert name.startswith("/")
    assert len(message) < 250


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (b"x=1", "x", "unknown query parameter"),
        (b"q=a&q=b", "q", "given more than once"),
        (b"limit=0", "limit", 'expected `int` >= 1, not "0"'),
        (b"limit=abc", "limit", 'expected `int`, not "abc"'),
        (b"limit=", "limit", 'expected `int`, not ""'),
        (b"limit=9223372036854775808", "limit", 'expected `int` <= 1000, not "9223372036854775808"'),
        (b"count=maybe", "count", 'expected `bool`, not "maybe"'),
        (b"sort=size", "sort", 'expected `name` or `-name`, not "size"'),
        (b"q=12345678901", "q", 'expected `str` of length <= 10, not "12345678901"'),
        (b"q=a%00b", "q", "expected text without NUL characters"),
        (b"token=s3same", "token", "expected `int | null`, got `str`"),
        (b"token=null", "token", 'expected a value, not "null"'),
        (b"%00=1", "\0", "unknown query parameter"),
    ],
)
def test_a_refused_parameter_is_named(text: bytes, name: str, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        query(request(query_string=text), Wanted)
    assert field(raised.value) == (name, message)


@pytest.mark.parametrize(
    "text",
    [
        *(b"q=%zz", b"q=%", b"q=%4", b"%=1", b"q=%ff", b"q=%ed%a0%80", b"\xff=1", b"&".join([b"a=1"] * 51)),
        *(b"q=\xc3\xa9", b"=1", b"&&x", b"limit[]=1", b"limit=1;count=1"),
    ],
)
def test_a_hostile_query_string_is_refused(text: bytes) -> None:
    for check in (lambda: query(request(query_string=text), Wanted), lambda: no_query(request(query_string=text))):
        with pytest.raises(Invalid):
            check()


def test_parameters_become_a_struct() -> None:
    assert query(request(), Wanted) == Wanted()
    assert query(request(query_string=b"q=%C3%A9+%2B&limit=7&count=true&sort=-name"), Wanted) == Wanted(
        q="é +", limit=7, count=True, sort="-name"
    )
    assert query(request(query_string=b"q=null"), Wanted).q == "null"
    assert query(request(query_string=b"q="), Wanted).q == ""


@pytest.mark.parametrize(("root", "count"), [("", "count"), ("/", "/count")])
def test_texts_become_a_struct_or_name_the_field_as_they_came(root: str, count: str) -> None:
    """A query string's are told by name, a form's as those of a body."""
    assert typed({"q": "a", "limit": "7", "count": "1"}, Wanted, root) == Wanted(q="a", limit=7, count=True)
    assert typed({}, Wanted, root) == Wanted()
    for text, message in (
        ("maybe", 'expected `bool`, not "maybe"'),
        ("", 'expected `bool`, not ""'),
        ("x" * 500, 'expected `bool`, not "' + "x" * 58 + "…"),
    ):
        with pytest.raises(Invalid) as raised:
            typed({"q": "a", "count": text}, Wanted, root)
        assert field(raised.value) == (count, message)


@pytest.mark.parametrize("name", ["limit", "q", "nam", "sort"])
def test_a_form_with_an_odd_field_is_refused_as_a_body_is(name: str) -> None:
    """Missing, unknown, and `null`, by which a field would vanish."""
    with pytest.raises(Invalid) as raised:
        typed({"q": "null", "token": "null"}, Wanted, "/")
    assert field(raised.value) == ("/token", 'expected a value, not "null"')
    with pytest.raises(Invalid) as raised:
        typed({name: "x" * 11}, Wanted, "/")
    assert field(raised.value)[0] == f"/{name}"
    with pytest.raises(Invalid) as raised:
        typed({"kind": "big"}, Thing, "/")
    assert field(raised.value) == ("/name", "required, and missing")


@given(
    st.dictionaries(st.sampled_from([*Wanted.__struct_fields__, "", "a/b~c", "0"]), st.text(max_size=30), max_size=4)
)
def test_any_texts_are_a_struct_or_invalid(given_texts: dict[str, str]) -> None:
    try:
        found = typed(given_texts, Wanted, "/")
    except Invalid as refusal:
        name, message = field(refusal)
    else:
        name, message = "/", found.q or ""
    assert name.startswith("/")
    assert len(message) < 250


def test_the_refusal_of_too_much_says_what_has_too_many_bytes() -> None:
    assert (too_large(10).code, too_large(10).detail) == ("PAYLOAD_TOO_LARGE", "The body is larger than 10 bytes.")
    beside = too_large(7, "Beside its file the form")
    assert (beside.detail, beside.facts) == ("Beside its file the form is larger than 7 bytes.", {"limit_bytes": 7})


@given(st.text(max_size=30))
def test_text_is_storable_when_every_engine_takes_it(text: str) -> None:
    try:
        text.encode()
        fine = "\0" not in text
    except UnicodeEncodeError:
        fine = False
    assert unstorable(text) is not fine


async def test_a_body_is_read_whole_however_it_comes() -> None:
    assert await raw_body(request(chunk(b"abc"))) == b"abc"
    assert await raw_body(request(chunk(b"a", True), chunk(b"", True), chunk(b"bc"))) == b"abc"
    assert (await body(request(chunk(b'{"na', True), chunk(b'me":"x"}')), Thing)).name == "x"
    assert await body(request(chunk(b"")), Wanted) == Wanted()


async def test_a_body_is_refused_as_soon_as_it_grows_beyond_the_limit() -> None:
    assert await raw_body(request(chunk(b"x" * 10)), limit_bytes=10) == b"x" * 10
    with pytest.raises(TooLarge) as raised:
        await raw_body(request(chunk(b"x" * 6, True), chunk(b"x" * 5, True)), limit_bytes=10)
    assert raised.value.facts == {"limit_bytes": 10}


async def test_a_client_that_leaves_is_noticed() -> None:
    with pytest.raises(ClientGone):
        await raw_body(request(chunk(b"x", True), {"type": "http.disconnect"}))


def test_an_answer_is_json_and_nothing_at_all_with_204() -> None:
    answer = respond({"a": 1}, 201, (b"x-more", b"1"))
    assert (answer.status_code, answer.body) == (201, b'{"a":1}')
    headers = [(b"content-type", b"application/json"), (b"x-more", b"1"), (b"content-length", b"7")]
    assert answer.raw_headers == headers
    empty = respond(None, 204)
    assert (empty.body, empty.raw_headers) == (b"", [])
