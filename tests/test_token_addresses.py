"""Where an access token may be used from: addresses and networks, of IPv4 and IPv6, judged at every call."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.tokens.addresses import Network, network, within, written
from tests.support import refusal
from tests.test_tokens import TOKENS, made, version


@pytest.mark.parametrize(
    ("asked", "kept", "inside", "outside"),
    [
        (["192.0.2.7"], ["192.0.2.7"], ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.8", "::1", "::192.0.2.7"]),
        (["192.0.2.7/32"], ["192.0.2.7"], ["192.0.2.7"], ["192.0.2.6"]),
        (["192.0.2.77/24"], ["192.0.2.0/24"], ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
        (["::ffff:192.0.2.7"], ["192.0.2.7"], ["192.0.2.7", "::ffff:c000:207"], ["192.0.2.8"]),
        (["::ffff:192.0.2.0/120"], ["192.0.2.0/24"], ["192.0.2.9"], ["192.0.3.0"]),
        (["2001:DB8::0001"], ["2001:db8::1"], ["2001:db8::1", "2001:0db8:0:0:0:0:0:1"], ["2001:db8::2"]),
        (["2001:db8:1::7/48"], ["2001:db8:1::/48"], ["2001:db8:1:ffff::9"], ["2001:db8:2::", "192.0.2.7"]),
        (["fe80::/10"], ["fe80::/10"], ["fe80::1%eth0", "fe80::1"], ["fec0::1"]),
        (["0.0.0.0/0"], ["0.0.0.0/0"], ["203.0.113.9", "::ffff:203.0.113.9"], ["2001:db8::1", ""]),
        (["::/0"], ["::/0"], ["2001:db8::1"], ["203.0.113.9", ""]),
        (["192.0.2.7", "2001:db8::/32"], ["192.0.2.7", "2001:db8::/32"], ["192.0.2.7", "2001:db8::1"], ["::1"]),
        (
            ["192.0.2.7", "192.0.2.7/32", "::ffff:192.0.2.7", "10.1.1.1/8", "10.0.0.0/8"],
            ["192.0.2.7", "10.0.0.0/8"],
            ["192.0.2.7", "10.255.0.1"],
            ["11.0.0.1"],
        ),
    ],
)
def test_a_token_is_used_from_its_addresses_alone(
    client: TestClient, asked: list[str], kept: list[str], inside: list[str], outside: list[str]
) -> None:
    """Twice from each place, so that the caller is found in the database and then in the cache."""
    token = made(client, allowed_ips=asked)
    assert token["allowed_ips"] == kept
    assert client.get(f"{TOKENS}/{token['id']}").json()["allowed_ips"] == kept
    for host in [*outside, *inside, *outside, *inside]:
        if host in inside:
            assert version(client, token, host).status_code == 200, host
        else:
            document = refusal(version(client, token, host), 403, "FORBIDDEN")
            assert document["detail"] == "Address not allowed"
            assert document["errors"] == []
            assert not [known for known in (*kept, *asked) if known in str(document)]


def test_a_caller_on_a_unix_socket_has_no_address_that_could_be_allowed(client: TestClient) -> None:
    token = made(client, allowed_ips=["0.0.0.0/0", "::/0"])
    for _ in range(2):
        assert version(client, token, "192.0.2.1").status_code == 200
        assert refusal(version(client, token, ""), 403)["detail"] == "Address not allowed"
    assert version(client, made(client), "").status_code == 200


@pytest.mark.parametrize("wanted", [None, []])
def test_without_addresses_a_token_is_used_from_anywhere(client: TestClient, wanted: list[str] | None) -> None:
    token = made(client, allowed_ips=wanted)
    assert token["allowed_ips"] is None
    for host in ("192.0.2.1", "2001:db8::1", "127.0.0.1", ""):
        assert version(client, token, host).status_code == 200


NO_ADDRESSES = [
    *("", "x", "localhost", "example.com", "192.0.2", "192.0.2.256", "192.0.2.1/33", "192.0.2.1/-1", "192.0.2.1/"),
    *("/24", "192.0.2.1/24/24", " 192.0.2.1", "192.0.2.1 ", "192.0.2.1\n", "010.0.0.1", "2001:db8::/129", "::g"),
    *("fe80::1%eth0", "192.0.2.*", "192.0.2.1-192.0.2.9", "192.0.2.1,192.0.2.2", "१९२.0.2.1", "0x7f.0.0.1", 1, None),
]


@pytest.mark.parametrize("nonsense", NO_ADDRESSES)
def test_what_is_no_address_is_named_with_its_place(client: TestClient, nonsense: object) -> None:
    """In both places where addresses are given; nothing is changed."""
    token = made(client, allowed_ips=["127.0.0.1"])
    body = {"allowed_ips": ["192.0.2.1", nonsense, "also nonsense"]}
    for answer in (client.post(TOKENS, json=body), client.put(f"{TOKENS}/{token['id']}/allowed-ips", json=body)):
        assert refusal(answer, 400)["errors"][0]["field"] == "/allowed_ips/1"
    assert [entry["allowed_ips"] for entry in client.get(TOKENS).json()] == [None, ["127.0.0.1"]]


def test_a_hundred_addresses_are_enough(client: TestClient) -> None:
    hundred = [f"10.0.0.{number}" for number in range(100)]
    assert made(client, allowed_ips=hundred)["allowed_ips"] == hundred
    answer = client.post(TOKENS, json={"allowed_ips": [*hundred, "10.0.0.100"]})
    assert refusal(answer, 400)["errors"][0]["field"] == "/allowed_ips"


def test_new_addresses_hold_from_the_very_next_request(client: TestClient) -> None:
    token = made(client)

    def allow(addresses: list[str] | None) -> Any:
        answer = client.put(f"{TOKENS}/{token['id']}/allowed-ips", json={"allowed_ips": addresses})
        assert answer.status_code == 200, answer.text
        assert answer.json() == client.get(f"{TOKENS}/{token['id']}").json()
        return answer.json()["allowed_ips"]

    def reached() -> list[int]:
        return [version(client, token, host).status_code for host in ("192.0.2.1", "2001:db8::1")]

    assert reached() == [200, 200]
    assert allow(["192.0.2.99/24"]) == ["192.0.2.0/24"]
    assert reached() == [200, 403]
    assert allow(["2001:db8::/64"]) == ["2001:db8::/64"]
    assert reached() == [403, 200]
    for nothing in [None, list[str]()]:
        assert allow(["203.0.113.1"]) == ["203.0.113.1"]
        assert reached() == [403, 403]
        assert allow(nothing) is None
        assert reached() == [200, 200]


def test_addresses_are_said_when_they_are_set(client: TestClient) -> None:
    token = made(client, allowed_ips=["192.0.2.1"])
    bodies: list[object] = [{}, {"allowed_ips": "192.0.2.1"}, {"allowed_ips": {}}, []]
    for body in bodies:
        refusal(client.put(f"{TOKENS}/{token['id']}/allowed-ips", json=body), 400)
    refusal(client.put(f"{TOKENS}/999/allowed-ips", json={"allowed_ips": None}), 404)
    assert client.get(f"{TOKENS}/{token['id']}").json()["allowed_ips"] == ["192.0.2.1"]


def around(number: int, length: int, width: int) -> Network:
    """The network of this length that holds the address; few enough of them that many lie in each other."""
    kind = IPv4Network if width == 32 else IPv6Network
    return kind((number >> (width - length) << (width - length), length))


few_v4 = st.builds(around, st.integers(0, 2**32 - 1), st.integers(0, 4), st.just(32))
few_v6 = st.builds(around, st.integers(0, 2**128 - 1), st.integers(0, 4), st.just(128))
networks = st.lists(few_v4 | few_v6, min_size=1, max_size=4)


@given(networks, networks)
def test_what_lies_within_holds_no_address_that_lies_outside(inner: list[Network], outer: list[Network]) -> None:
    """All networks here are cut in sixteenths, so one address of each sixteenth tells."""
    sixteenths = [around(n << 28, 4, 32)[1] for n in range(16)] + [around(n << 124, 4, 128)[1] for n in range(16)]
    reached = {ip for ip in sixteenths if any(ip in one for one in inner)}
    allowed = {ip for ip in sixteenths if any(ip in one for one in outer)}
    if within(inner, outer):
        assert reached <= allowed
    assert within(inner, inner)
    assert within(inner, [*outer, *inner])
    assert within(inner, None)


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_is_read_back_as_it_is_written(address: Any, length: int) -> None:
    found = network(f"{address}/{min(length, address.max_prefixlen)}")
    (text,) = written([found, found])
    assert network(text) == found
    assert written([network(text)]) == (text,)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_ipv4_inside_ipv6_is_the_same_network(address: Any, length: int) -> None:
    plain = ip_network(f"{address}/{length}", strict=False)
    assert network(f"::ffff:{address}/{96 + length}") == network(f"{address}/{length}") == plain
