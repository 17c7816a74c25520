"""What is secret is kept nowhere and told to nobody else, and an access token cannot be forged."""

import hashlib
import hmac
import json
import re
import stat
import unicodedata
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx2
import pytest

from tests import mail_server
from tests.accounts import Person, bearer
from tests.house import ACCESS_S, AUTH, ENDED, ME, NOBODY, House
from tests.mail_server import MailServer, code_in
from tests.nix_store import FAKES
from tests.support import Service, refusal, rows, until

FIRST_PASSWORD = 'Zwölf/Boxkämpfer+1 & "jagen"'
SECOND_PASSWORD = "q\\uer über <den> großen %20 Deich"
MISTYPED_PASSWORD = "Zwoelf Boxkaempfer?"
PHC = re.compile(r"\$scrypt\$ln=14,r=8,p=5\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}")


def spellings(secret: str) -> Iterator[bytes]:
    """The secret in every way in which it might lie about: as it is, in JSON, in a URL, in base64, in hexadecimal."""
    for text in {secret, unicodedata.normalize("NFD", secret)}:
        raw = text.encode()
        for spelt in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
            yield spelt.encode()
        yield from (quote(text).encode(), quote(text, safe="").encode(), quote_plus(text).encode())
        yield from (raw.hex().encode(), raw.hex().upper().encode())
        for encode in (b64encode, urlsafe_b64encode):
            for shift in range(3):  # wherever it stands in what was encoded, some of its groups of three are whole
                whole = encode(b"\0" * shift + raw)
                yield whole[4 if shift else 0 : len(whole) - 4]


def test_a_secret_is_recognised_in_every_spelling() -> None:
    """Lest the search below finds nothing because it looks for nothing."""
    secret = FIRST_PASSWORD
    for content in (
        json.dumps({"password": secret}).encode(),
        f"GET /?password={quote(secret)} HTTP/1.1".encode(),
        b64encode(f"ann:{secret}".encode()),
        b64encode(f"anna:{secret}".encode()),
        b64encode(f"annie:{secret}".encode()),
        repr({"password": secret}).encode(),
    ):
        assert any(spelt in content for spelt in spellings(secret)), content


class Work:
    """A mixed session of work, every secret that it was given or made, and every answer that refused something."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.secrets = [FIRST_PASSWORD, SECOND_PASSWORD, MISTYPED_PASSWORD]
        self.refused: list[httpx2.Response] = []
        self.refresh_tokens: list[str] = []
        self._client = service.client(event_hooks={"response": [self._hear]})
        self.keep_token(service.token)

    def _hear(self, answer: httpx2.Response) -> None:
        answer.read()
        if answer.status_code >= 400:
            self.refused.append(answer)

    def keep_token(self, secret: str) -> str:
        self.secrets += [secret, secret[12:]]  # the first twelve characters are shown to recognise it
        return secret

    def keep_pair(self, answer: httpx2.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        self.secrets += [pair["access_token"], pair["access_token"].rpartition(".")[2], pair["refresh_token"]]
        self.refresh_tokens.append(pair["refresh_token"])
        return pair

    def post(self, path: str, given: object, headers: dict[str, str] = NOBODY) -> httpx2.Response:
        return self._client.post(f"/api/v1{path}", json=given, headers=headers)

    def get(self, what: str) -> httpx2.Response:
        """What the owner of the appliance is told."""
        return self._client.get(f"/api/v1/{what}")

    def forget(self) -> httpx2.Response:
        """Ann asks for a new password."""
        return self.post("/auth/forgot-password", {"email": "ann@example.com"})

    def login(self, identifier: str, password: str) -> httpx2.Response:
        return self.post("/auth/login", {"identifier": identifier, "password": password})

    def sign_in(self) -> dict[str, str]:
        """Registers, signs in in each way, changes the password; the header of the session that is left."""
        new = {"email": "ann@example.com", "username": "ann", "name": "Ann", "password": FIRST_PASSWORD}
        assert self.post("/auth/register", new).status_code == 201
        pair = self.keep_pair(self.login("ann", FIRST_PASSWORD))
        pair = self.keep_pair(self.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}))
        form = {"grant_type": "password", "username": "ann", "password": FIRST_PASSWORD}
        self.keep_pair(self._client.post("/auth/token", data=form, headers=NOBODY))
        headers = bearer(pair["access_token"])
        given = {"old_password": FIRST_PASSWORD, "new_password": SECOND_PASSWORD}
        assert self.post("/auth/change-password", given, headers).status_code == 200
        self.keep_pair(self.login("ann@example.com", SECOND_PASSWORD))
        return headers

    def make_tokens(self, headers: dict[str, str]) -> None:
        made = self.post("/tokens", {"name": "ci"}, headers).json()
        self.keep_token(made["token"])
        again = self.post(f"/tokens/{made['id']}/regenerate", {"grace_seconds": 60}, headers).json()
        self.keep_token(again["token"])
        for secret in (made["token"], again["token"]):
            assert self._client.get(ME, headers=bearer(secret)).status_code == 200

    def link(self, headers: dict[str, str]) -> None:
        """Shares a file by links of both kinds, which are used, used wrongly, and of which one is used up."""
        made = self._client.put("/api/v1/files/content?name=a.txt", content=b"hello", headers=headers).json()
        where = f"/files/{made['id']}"
        once = self.post(f"{where}/share", {"link": True, "max_access_count": 1}, headers).json()["link"]
        hour = self._client.get(f"/api/v1{where}/download-url", headers=headers).json()["path"].rpartition("/")[2]
        self.secrets += [once, hour]
        before = len(self.refused)
        for secret in (once, hour):
            path = f"/api/v1/files/shared/{secret}"
            for credential in (NOBODY, headers):
                agent = {"User-Agent": "curl", "Referer": f"https://example.com{path}"}
                assert self._client.head(path, headers=credential).status_code == 200
                first = self._client.get(path, headers={**credential, **agent})
                assert first.status_code == (403 if (secret, credential) == (once, headers) else 200)
                calls = [
                    self._client.post(path, headers=credential),
                    self._client.get(f"{path}/a.txt", headers=credential),
                    self._client.get(path, params={"x": "1"}, headers=credential),
                    self._client.get(path, headers={**credential, "Range": "bytes=99-"}),
                    self._client.get(f"/api/v1/files/shared/{secret}x", headers=credential),
                ]
                assert min(call.status_code for call in calls) >= 400
            assert self._client.get(ME, headers=bearer(secret)).status_code == 401
        assert len(self.refused) - before == 2 * (2 * 5 + 1) + 1
        assert len(self._client.get(f"/api/v1{where}/access-logs", headers=headers).json()) == 3

    def go_wrong(self, headers: dict[str, str]) -> None:
        """All that people do who are in a hurry; every one of these calls is refused."""
        before = len(self.refused)
        access, refresh = headers["Authorization"].split()[1], self.refresh_tokens[0]
        basic = {"Authorization": "Basic " + b64encode(f"ann:{FIRST_PASSWORD}".encode()).decode()}
        calls = [
            self.login(SECOND_PASSWORD, SECOND_PASSWORD),
            self.login("ann", MISTYPED_PASSWORD),
            self.login("ann", FIRST_PASSWORD),
            self.post("/auth/login", {"password": [SECOND_PASSWORD], "identifier": "ann"}),
            self.post("/auth/login", {"password": SECOND_PASSWORD}),
            self.post("/auth/login", {"password": SECOND_PASSWORD, "identifier": "ann", "remember": True}),
            self.post("/auth/change-password", {"old_password": MISTYPED_PASSWORD, "new_password": "x" * 20}, headers),
            self.post("/auth/change-password", {"old_password": SECOND_PASSWORD, "new_password": "short"}, headers),
            self.post("/auth/change-password", {"old_password": SECOND_PASSWORD, "new": SECOND_PASSWORD}, headers),
            self.post("/auth/refresh", {"refresh_token": refresh[:-1]}),
            self.post("/auth/refresh", {"refresh_token": refresh + refresh}),
            self.post("/auth/refresh", {"refresh_token": access}),
            self._client.post(f"{AUTH}/login", content='{"password": "' + SECOND_PASSWORD, headers=NOBODY),
            self._client.post("/auth/token", data={"username": "ann", "password": MISTYPED_PASSWORD}, headers=NOBODY),
            self._client.post("/auth/token", data={"grant_type": SECOND_PASSWORD}, headers=NOBODY),
            self._client.get(ME, headers=bearer(access[:-30])),
            self._client.get(ME, headers=bearer(refresh)),
            self._client.get(ME, headers=bearer(self.service.token[:-1])),
            self._client.get(ME, headers=basic),
            self._client.get("/api/v1/packages", params={"token": self.service.token}),
            self._client.get("/api/v1/packages", params={"password": SECOND_PASSWORD, "access_token": access}),
            self.post("/packages", {"name": "tool", "version": 7, "password": SECOND_PASSWORD}, headers),
        ]
        assert [call.status_code for call in calls if call.status_code < 400] == []
        assert len(self.refused) - before == len(calls)

    def build(self) -> int:
        """Begins a build that hangs; returns once it runs."""
        owner = bearer(self.service.token)
        package_id = int(self.post("/packages", {"name": "hang", "version": "1.0.0"}, owner).json()["id"])
        assert self.post(f"/packages/{package_id}/download", {}, owner).status_code == 202
        log = f"/api/v1/packages/{package_id}/log"
        until(lambda: "begun" in self._client.get(log).text, "the build runs")
        return package_id

    def end(self, package_id: int) -> None:
        """Ends the build, and the work."""
        self.post(f"/packages/{package_id}/cancel", {}, bearer(self.service.token))
        where = f"/api/v1/packages/{package_id}"
        until(lambda: self._client.get(where).json()["status"] not in ("downloading", "cancelling"), "the build ends")
        self.close()

    def close(self) -> None:
        self._client.close()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def told_by_processes(pid: int) -> bytes:
    """Command lines and environments of a process and its descendants: what others on the machine may read."""
    return b"\n".join(
        Path(f"/proc/{one}/{part}").read_bytes() for one in family(pid) for part in ("cmdline", "environ")
    )


def told_by_files(folder: Path) -> dict[str, bytes]:
    """The content of every file in the data folder but the secret key, with its name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "secret.key":
            found[str(path.relative_to(folder))] = str(path).encode() + b"\n" + path.read_bytes()
    return found


@pytest.mark.slow
def test_secrets_are_kept_nowhere_and_told_to_nobody(service: Service) -> None:
    """Neither in the database and its journal, nor in a file, the log, a refusal, a command line, an environment."""
    service.settings |= {"NIX_BUILD": str(FAKES / "nix-build"), "MIN_FREE_BYTES": "0", "DEBUG": "true"}
    service.start()
    assert service.process is not None
    work = Work(service)
    headers = work.sign_in()
    work.make_tokens(headers)
    work.link(headers)
    work.go_wrong(headers)
    package_id = work.build()
    places = {"processes": told_by_processes(service.process.pid)}
    work.end(package_id)
    places |= {f"{name}, running": content for name, content in told_by_files(service.data_dir).items()}
    code, output = service.stop()
    assert code == 0
    places |= told_by_files(service.data_dir) | {"the log": output.encode()}
    places |= {f"refusal {n}": f"{a.headers}{a.text}".encode() for n, a in enumerate(work.refused)}

    assert b"nix-build" in places["processes"]
    assert {"app.db, running", "app.db-wal, running", "app.db"} <= places.keys()
    assert hashlib.sha256(work.refresh_tokens[-1].encode()).hexdigest().encode() in places["app.db"]
    work.secrets.append((service.data_dir / "secret.key").read_text().strip())
    _are_nowhere(places, *work.secrets)
    _only_hashes(service.database, work)


@pytest.fixture
def postbox() -> Iterator[MailServer]:
    server = MailServer(auth=True).start()
    yield server
    server.stop()


def use_up(work: Work, code: str) -> list[httpx2.Response]:
    """A code is used wrongly, as a header and in a query too, then rightly, then once more."""
    right = {"token": code, "password": SECOND_PASSWORD}
    answers = [
        work.post("/auth/reset-password", right | {"token": code + "x"}),
        work.post("/auth/reset-password", right | {"token": [code]}),
        work.post("/auth/reset-password", right | {"password": "short"}),
        work.post("/auth/reset-password", {"password": SECOND_PASSWORD}, bearer(code)),
        work.post(f"/auth/reset-password?token={code}", right),
        work.post("/auth/refresh", {"refresh_token": code}),
        work.post("/auth/reset-password", right),
        work.post("/auth/reset-password", right),
    ]
    assert [answer.status_code for answer in answers] == [400] * 5 + [401, 200, 400]
    return answers


def told_in_words(answers: list[httpx2.Response]) -> bytes:
    return b"\n".join(f"{answer.headers}{answer.text}".encode() for answer in answers)


@pytest.mark.slow
def test_codes_that_were_mailed_and_the_mail_servers_password_are_kept_nowhere_and_told_to_nobody(
    service: Service, postbox: MailServer
) -> None:
    """Not even when the mail server refuses either; only the service's own environment holds what it was given."""
    service.settings |= {"NIX_BUILD": str(FAKES / "nix-build"), "MIN_FREE_BYTES": "0", "DEBUG": "true"}
    service.settings["SMTP_URL"] = postbox.url(user=True)
    service.start()
    assert service.process is not None
    work = Work(service)
    work.sign_in()
    package_id = work.build()
    answers = [work.forget()]
    codes = [postbox.next().code]
    answers += use_up(work, codes[0])
    for command, said in {"AUTH": "535 not you", "DATA": "554 not that"}.items():
        postbox.answers = {command: said}
        answers.append(work.forget())
        until(lambda said=said: said in "".join(service.output), "the mail server has refused")  # type: ignore[misc]
    postbox.answers = {}
    answers.append(work.forget())
    codes += [postbox.next().code, *(lost.code for lost in postbox.rejected)]
    answers += [work.get(what) for what in ("audit", "system/outbox", "users", "version")]
    own, *descendants = family(service.process.pid)
    places = {"the children": b"\n".join(told_by_processes(one) for one in descendants)}
    places |= {"the command line": Path(f"/proc/{own}/cmdline").read_bytes(), "answers": told_in_words(answers)}
    places |= {f"{name}, running": content for name, content in told_by_files(service.data_dir).items()}
    work.end(package_id)
    exit_code, output = service.stop()
    assert exit_code == 0
    places |= told_by_files(service.data_dir) | {"the log": output.encode()}
    assert b"nix-build" in places["the children"]
    assert b"mail was not taken" in places["the log"]
    assert hashlib.sha256(codes[1].encode()).hexdigest().encode() in places["app.db"]
    assert len({*codes}) == 3
    _are_nowhere(places, *codes, mail_server.PASSWORD)


@pytest.mark.slow
def test_a_code_lies_in_its_letter_in_the_outbox_for_us_alone_and_nowhere_else(service: Service) -> None:
    service.settings["DEBUG"] = "true"
    service.start()
    work = Work(service)
    work.sign_in()
    answers = [work.forget()]
    outbox = service.data_dir / "outbox"
    (letter,) = until(lambda: [*outbox.glob("*.eml")], "the letter is written")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (letter, outbox)] == [0o600, 0o700]
    code = code_in(work.get("system/outbox").json()[0]["text"])
    assert code.encode() in letter.read_bytes()
    places = {f"{name}, running": content for name, content in told_by_files(service.data_dir).items()}
    del places[f"outbox/{letter.name}, running"]
    answers += use_up(work, code)
    until(lambda: not letter.exists(), "the letter is gone")
    answers.append(work.get("audit"))
    work.close()
    exit_code, output = service.stop()
    assert exit_code == 0
    places |= {"answers": told_in_words(answers), "the log": output.encode()}
    _are_nowhere(places | told_by_files(service.data_dir), code)


def _are_nowhere(places: dict[str, bytes], *secrets: str) -> None:
    for secret in secrets:
        for spelt in spellings(secret):
            assert [place for place, content in places.items() if spelt in content] == [], (secret, spelt)


def _only_hashes(database: Path, work: Work) -> None:
    """Passwords are kept under scrypt, 256 random bits under SHA-256."""
    hashes = [row["password_hash"] for row in rows(database, "SELECT password_hash FROM users ORDER BY id")]
    assert hashes[0] is None
    assert PHC.fullmatch(hashes[1])
    kept = {row["secret_sha256"] for row in rows(database, "SELECT secret_sha256 FROM refresh_tokens")}
    kept |= {row["secret_sha256"] for row in rows(database, "SELECT secret_sha256 FROM tokens")}
    kept |= {row["old_sha256"] for row in rows(database, "SELECT old_sha256 FROM tokens WHERE old_sha256 IS NOT NULL")}
    links = {row["link_sha256"] for row in rows(database, "SELECT link_sha256 FROM file_shares")}
    assert len(links) == 2
    kept |= links
    hashed = {hashlib.sha256(secret.encode()).hexdigest() for secret in work.secrets}
    assert kept <= hashed
    assert len(kept) >= 8


def encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


def told(jwt: str) -> dict[str, Any]:
    """What the payload of a JWT says."""
    payload = jwt.split(".")[1]
    return dict(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def signed(claims: object, key: bytes, *, alg: object = "HS256", hashed: str = "sha256", **header: object) -> str:
    """A JWT as somebody might make it who is not bound to what is allowed."""
    head = json.dumps({"alg": alg, "typ": "JWT"} | header).encode()
    text = f"{encoded(head)}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), hashed))}"


def unsigned(jwt: str) -> str:
    return jwt.rpartition(".")[0] + "."


def resealed(jwt: str, **claims: object) -> str:
    """The JWT with other claims and the signature it had."""
    head, _, signature = jwt.split(".")
    return f"{head}.{encoded(json.dumps(told(jwt) | claims).encode())}.{signature}"


FORGERIES: dict[str, Callable[[str, bytes], str]] = {
    "alg none": lambda jwt, key: unsigned(signed(told(jwt), key, alg="none")),
    "alg None": lambda jwt, key: unsigned(signed(told(jwt), key, alg="None")),
    "alg none, signed": lambda jwt, key: signed(told(jwt), key, alg="none"),
    "HS512 with our key": lambda jwt, key: signed(told(jwt), key, alg="HS512", hashed="sha512"),
    "HS384 with our key": lambda jwt, key: signed(told(jwt), key, alg="HS384", hashed="sha384"),
    "RS256 in the header": lambda jwt, key: signed(told(jwt), key, alg="RS256"),
    "no alg": lambda jwt, key: signed(told(jwt), key, alg=None),
    "alg as a list": lambda jwt, key: signed(told(jwt), key, alg=["HS256"]),
    "another key": lambda jwt, key: signed(told(jwt), bytes(32)),
    "an empty key": lambda jwt, key: signed(told(jwt), b""),
    "a key of its own making in the header": lambda jwt, key: signed(
        told(jwt), b"k" * 32, jwk={"kty": "oct", "k": encoded(b"k" * 32)}
    ),
    "an extension that must be understood": lambda jwt, key: signed(told(jwt), key, crit=["x"], x=1),
    "another user": lambda jwt, key: resealed(jwt, sub="1"),
    "another expiry": lambda jwt, key: resealed(jwt, exp=told(jwt)["exp"] + 1),
    "no signature": lambda jwt, key: unsigned(jwt),
    "two parts": lambda jwt, key: jwt.rpartition(".")[0],
    "four parts": lambda jwt, key: jwt + ".x",
    "half a signature": lambda jwt, key: jwt[:-20],
    "a payload that is no object": lambda jwt, key: signed([told(jwt)], key),
    "nothing but dots": lambda jwt, key: "..",
    "100 KB": lambda jwt, key: jwt + "A" * 100_000,
    "not ASCII": lambda jwt, key: f"é.{jwt}".rpartition(".")[0],
    "type refresh": lambda jwt, key: signed(told(jwt) | {"type": "refresh"}, key),
    "type as a list": lambda jwt, key: signed(told(jwt) | {"type": ["access"]}, key),
    "sid without its nonce": lambda jwt, key: signed(told(jwt) | {"sid": told(jwt)["sid"].partition(".")[0]}, key),
    "sid as a number": lambda jwt, key: signed(told(jwt) | {"sid": int(told(jwt)["sid"].partition(".")[0])}, key),
    "sid with another nonce": lambda jwt, key: signed(told(jwt) | {"sid": told(jwt)["sid"][:-32] + "0" * 32}, key),
    "sid true": lambda jwt, key: signed(told(jwt) | {"sid": True}, key),
    "a negative sid": lambda jwt, key: signed(told(jwt) | {"sid": -1}, key),
    "a sid of 70 bits": lambda jwt, key: signed(told(jwt) | {"sid": f"{2**70}.{'0' * 32}"}, key),
    "sub as a number": lambda jwt, key: signed(told(jwt) | {"sub": 1}, key),
    "sub of letters": lambda jwt, key: signed(told(jwt) | {"sub": "admin"}, key),
    "a sub of 70 bits": lambda jwt, key: signed(told(jwt) | {"sub": str(2**70)}, key),
    "the sub of another": lambda jwt, key: signed(told(jwt) | {"sub": "1"}, key),
    "exp as text": lambda jwt, key: signed(told(jwt) | {"exp": str(told(jwt)["exp"])}, key),
    "exp as a fraction": lambda jwt, key: signed(told(jwt) | {"exp": told(jwt)["exp"] + 0.5}, key),
    "a negative exp": lambda jwt, key: signed(told(jwt) | {"exp": -1}, key),
    "an exp of 70 bits": lambda jwt, key: signed(told(jwt) | {"exp": 2**70}, key),
    "an exp of 400 digits": lambda jwt, key: signed(told(jwt) | {"exp": 10**400}, key),
    "an endless exp": lambda jwt, key: signed(told(jwt) | {"exp": float("inf")}, key),
    **{
        f"no {name}": lambda jwt, key, name=name: signed(  # type: ignore[misc]
            {claim: said for claim, said in told(jwt).items() if claim != name}, key
        )
        for name in ("sub", "sid", "jti", "iat", "exp", "type")
    },
}


@pytest.fixture(scope="module")
def victim(house: House) -> Person:
    return house.person()


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_or_odd_access_token_lets_nobody_in(house: House, victim: Person, forgery: str) -> None:
    """Many of them bear our own signature: even then nothing but what we make ourselves is believed, and no error."""
    genuine = victim.pair["access_token"]
    odd = FORGERIES[forgery](genuine, house.app.state.sessions.key)
    answer = house.client.get(ME, headers={"Authorization": f"Bearer {odd}".encode()})
    assert refusal(answer, 401)["detail"] in ("Invalid token", ENDED, "Token expired")


def test_the_forger_of_these_tests_can_make_a_genuine_token(house: House, victim: Person) -> None:
    genuine = victim.pair["access_token"]
    again = signed(told(genuine) | {"jti": "another"}, house.app.state.sessions.key)
    assert house.me(bearer(again)).json()["id"] == victim.id


def test_neither_token_of_a_pair_does_the_other_ones_work(house: House, victim: Person) -> None:
    access, refresh = victim.pair["access_token"], victim.pair["refresh_token"]
    assert refusal(house.me(bearer(refresh)), 401)["detail"] == "Invalid token"
    refusal(house.refresh({"refresh_token": access}), 401)
    assert house.lets_in(victim.pair)


def test_an_access_token_says_whose_it_is_and_for_how_long(house: House, victim: Person) -> None:
    claims = told(victim.pair["access_token"])
    assert claims.keys() == {"sub", "sid", "jti", "iat", "exp", "type"}
    assert (claims["sub"], claims["type"], claims["exp"] - claims["iat"]) == (str(victim.id), "access", ACCESS_S)
    head = json.loads(urlsafe_b64decode(victim.pair["access_token"].split(".")[0] + "=="))
    assert head == {"alg": "HS256", "typ": "JWT"}
    assert hashlib.sha256(victim.pair["refresh_token"].encode()).hexdigest() in {
        row["secret_sha256"] for row in house.rows("SELECT secret_sha256 FROM refresh_tokens")
    }
