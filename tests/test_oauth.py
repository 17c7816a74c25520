"""The OAuth 2 password flow: with a client library as it comes, and each refusal as RFC 6749, 5.2 has it."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

import httpx2
import pytest
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError, LegacyApplicationClient
from oauthlib.oauth2.rfc6749.errors import UnsupportedGrantTypeError
from requests_oauthlib import OAuth2Session

from tests.accounts import PASSWORD, Person, bearer
from tests.house import ME, NOBODY, House
from tests.support import Service

TOKEN = "/api/v1/auth/token"
FORM = "application/x-www-form-urlencoded"
SPOKEN = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749, 5.2: what an error_description may consist of: neither quotes nor anything beyond ASCII."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service over a real socket, where `ann` has an account."""
    running = Service(tmp_path_factory.mktemp("box"))
    try:
        running.start()
        with running.client() as client:
            new = {"email": "ann@example.com", "username": "ann", "name": "Ann", "password": PASSWORD}
            client.post("/api/v1/users", json=new).raise_for_status()
        yield running
    finally:
        running.stop()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[OAuth2Session]:
    """requests-oauthlib as anybody would use it; plain HTTP is all right on the machine itself."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with OAuth2Session(client=LegacyApplicationClient(client_id="a client")) as session:
        yield session


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/auth/token", TOKEN])
@pytest.mark.parametrize("username", ["ann", "Ann@example.com"])
def test_a_library_signs_in_and_refreshes(box: Service, library: OAuth2Session, path: str, username: str) -> None:
    """By itself it sends its own name in a Basic header."""
    first = library.fetch_token(box.url + path, username=username, password=PASSWORD)
    assert (first["token_type"], first["expires_in"]) == ("Bearer", 900)
    assert library.get(box.url + ME).json()["username"] == "ann"
    second = library.refresh_token(box.url + path)
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert library.get(box.url + ME).json()["username"] == "ann"


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"include_client_id": True}, {"client_secret": "s", "include_client_id": True}])
def test_a_library_may_send_its_credentials_in_the_form(
    box: Service, library: OAuth2Session, more: dict[str, object]
) -> None:
    library.fetch_token(box.url + TOKEN, username="ann", password=PASSWORD, **more)
    assert library.get(box.url + ME).status_code == 200


@pytest.mark.slow
def test_a_library_renews_an_expired_token_by_itself(box: Service, library: OAuth2Session) -> None:
    first = library.fetch_token(box.url + TOKEN, username="ann", password=PASSWORD)
    renewed = []
    library.auto_refresh_url, library.token_updater = box.url + TOKEN, renewed.append
    library.token = first | {"expires_at": 1}
    assert library.get(box.url + ME).json()["username"] == "ann"
    assert [pair["access_token"] != first["access_token"] for pair in renewed] == [True]


@pytest.mark.slow
def test_a_library_understands_each_refusal(box: Service, library: OAuth2Session) -> None:
    for username, password in (("ann", "wrong password"), ("nobody", PASSWORD)):
        with pytest.raises(InvalidGrantError, match="Wrong identifier or password"):
            library.fetch_token(box.url + TOKEN, username=username, password=password)
    with pytest.raises(InvalidGrantError):
        library.refresh_token(box.url + TOKEN, refresh_token="no such token")
    with (
        OAuth2Session(client=BackendApplicationClient(client_id="a client")) as other,
        pytest.raises(UnsupportedGrantTypeError),
    ):
        other.fetch_token(box.url + TOKEN)


@pytest.fixture(scope="module")
def person(house: House) -> Person:
    return house.person()


def asked(house: House, body: str | bytes, headers: Mapping[str, str] = NOBODY) -> httpx2.Response:
    """A token request with this form."""
    return house.client.post(TOKEN, content=body, headers={"Content-Type": FORM, **headers})


def granted(answer: httpx2.Response) -> dict[str, object]:
    """The pair of a token request that was granted, as RFC 6749, 5.1 has it."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    pair: dict[str, object] = answer.json()
    assert pair.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    return pair


def denied(answer: httpx2.Response, error: str, status: int = 400) -> str:
    """The description of a token request that was refused, as RFC 6749, 5.2 has it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert "www-authenticate" not in answer.headers
    told = answer.json()
    assert told.keys() == {"error", "error_description", "request_id"}
    assert told["error"] == error
    assert SPOKEN.fullmatch(told["error_description"]), told
    return str(told["error_description"])


def form(person: Person, **more: str) -> dict[str, str]:
    return {"grant_type": "password", "username": person.username, "password": PASSWORD, **more}


def test_a_grant_is_answered_with_a_pair_that_works(house: House, person: Person) -> None:
    pair = granted(asked(house, urlencode(form(person))))
    assert house.me(bearer(str(pair["access_token"]))).json()["id"] == person.id
    again = granted(asked(house, urlencode({"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]})))
    assert house.me(bearer(str(again["access_token"]))).json()["id"] == person.id


def test_a_username_without_a_grant_type_is_a_password_grant(house: House, person: Person) -> None:
    wanted = form(person)
    del wanted["grant_type"]
    granted(asked(house, urlencode(wanted)))


@pytest.mark.parametrize("more", [{"scope": "users:read"}, {"client_id": "x", "client_secret": "y"}, {"é": "ü"}])
def test_what_is_not_known_is_ignored(house: House, person: Person, more: dict[str, str]) -> None:
    granted(asked(house, urlencode(form(person, **more))))


@pytest.mark.parametrize("name", ["scope", "refresh_token", "client_id"])
def test_a_parameter_without_a_value_counts_as_left_out(house: House, person: Person, name: str) -> None:
    """RFC 6749, 3.2."""
    granted(asked(house, urlencode(form(person, **{name: ""}))))


def test_an_empty_grant_type_counts_as_left_out(house: House, person: Person) -> None:
    granted(asked(house, urlencode(form(person, grant_type=""))))


@pytest.mark.parametrize("header", ["Basic YTpi", "Basic", "Bearer nonsense", "Token x"])
def test_the_client_s_own_credentials_are_not_asked_for(house: House, person: Person, header: str) -> None:
    granted(asked(house, urlencode(form(person)), {"Authorization": header}))


@pytest.mark.parametrize("content_type", [f"{FORM}; charset=UTF-8", FORM.upper()])
def test_a_form_is_a_form_however_it_is_written(house: House, person: Person, content_type: str) -> None:
    granted(asked(house, urlencode(form(person)), {"Content-Type": content_type}))


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("", "invalid_request", "grant_type"),
        ("grant_type=", "invalid_request", "grant_type"),
        ("password=x", "invalid_request", "grant_type"),
        ("grant_type=password", "invalid_request", "username"),
        ("grant_type=password&username=a", "invalid_request", "password"),
        ("grant_type=password&password=a", "invalid_request", "username"),
        ("grant_type=password&username=&password=a", "invalid_request", "username"),
        ("username=a", "invalid_request", "password"),
        ("grant_type=refresh_token", "invalid_request", "refresh_token"),
        ("grant_type=refresh_token&refresh_token=", "invalid_request", "refresh_token"),
        ("grant_type=refresh_token&username=a&password=b", "invalid_request", "refresh_token"),
        ("grant_type=password&username=a&username=a&password=b", "invalid_request", "username"),
        ("grant_type=password&grant_type=password&username=a&password=b", "invalid_request", "grant_type"),
        ("grant_type=password&username=a&password=b&scope=x&scope=y", "invalid_request", "scope"),
        ("grant_type=password&username=a&password=b&%C3%A9=x&%C3%A9=y", "invalid_request", "more than once"),
        ('grant_type=password&username=a&password=b&"\\=x&"\\=y', "invalid_request", "more than once"),
        (f"grant_type=password&username={'a' * 300}&password=b", "invalid_request", "username"),
        (f"grant_type=password&username=%C3%A9{'a' * 300}&password=b", "invalid_request", "username"),
        (f"grant_type=password&username=a&password={'b' * 1001}", "invalid_request", "password"),
        ("grant_type=password&username=a%00&password=b", "invalid_request", "username"),
        ("grant_type=password&username=%FF&password=b", "invalid_request", "UTF-8"),
        ("grant_type=password&username=%zz&password=b", "invalid_request", "URL-encoded"),
        ("&".join(f"x{number}=1" for number in range(100)), "invalid_request", "too many"),
        ("grant_type=client_credentials", "unsupported_grant_type", "grant_type"),
        ("grant_type=authorization_code&code=x", "unsupported_grant_type", "grant_type"),
        ("grant_type=PASSWORD&username=a&password=b", "unsupported_grant_type", "grant_type"),
        ("grant_type=refresh_token&refresh_token=x", "invalid_grant", "refresh token"),
        ("grant_type=password&username=nobody&password=b", "invalid_grant", "Wrong"),
    ],
)
def test_a_request_that_does_not_hold_is_refused_in_the_words_of_the_rfc(
    house: House, body: str, error: str, said: str
) -> None:
    assert said in denied(asked(house, body.encode()), error)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
def test_only_a_form_is_taken(house: House, content_type: str) -> None:
    body = '{"grant_type": "password", "username": "a", "password": "b"}'
    assert FORM in denied(asked(house, body, {"Content-Type": content_type}), "invalid_request")


def test_nothing_is_taken_from_the_query_string(house: House, person: Person) -> None:
    answer = house.client.post(f"{TOKEN}?{urlencode(form(person))}", headers={"Content-Type": FORM} | NOBODY)
    denied(answer, "invalid_request")


def test_a_form_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    denied(asked(house, "grant_type=password&username=a&password=" + "b" * 2**20), "invalid_request", 413)


@pytest.mark.parametrize("status", ["pending", "inactive", "suspended"])
def test_an_account_that_is_not_active_gets_no_grant(house: House, status: str) -> None:
    gone = house.person()
    house.client.patch(f"/api/v1/users/{gone.id}/status", json={"status": status}).raise_for_status()
    assert status in denied(asked(house, urlencode(form(gone))), "invalid_grant")
    used = {"grant_type": "refresh_token", "refresh_token": gone.pair["refresh_token"]}
    denied(asked(house, urlencode(used)), "invalid_grant")


def test_too_many_wrong_passwords_are_told_with_the_time_to_wait(house: House) -> None:
    victim = house.person()
    for _ in range(5):
        denied(asked(house, urlencode(form(victim, password="wrong password"))), "invalid_grant")
    answer = asked(house, urlencode(form(victim)))
    denied(answer, "temporarily_unavailable", 429)
    assert 290 < int(answer.headers["retry-after"]) <= 300
