"""Settings: the only reader of the environment. `load(environ)` turns it into one frozen `Config`.

Every setting stands in `SETTINGS` once, with its default and what it does; `.env.example` and README.md are held
against that table by tests. Each may also be given as `NAME_FILE`, the path of a file that holds the value.
"""

import ipaddress
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from app.errors import StartError
from app.values import Network


class ConfigError(StartError):
    """A setting that does not hold: which one, what was expected, what came."""


class Smtp(msgspec.Struct, frozen=True):
    """A mail server. `tls` None: STARTTLS where it is offered, and always before a password is sent."""

    host: str
    port: int
    tls: Literal["implicit", "starttls"] | None = None
    user: str | None = None
    password: str | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked. Paths are absolute; sizes are bytes; times are seconds."""

    app_env: Literal["development", "production"] = "development"
    debug: bool = False
    log_format: Literal["json", "text"] = "json"
    data_dir: Path
    database_path: Path
    secret_key: str | None = None
    """None: read from, or made in, `data_dir/secret.key` at the first start."""
    host: str = "127.0.0.1"
    port: int = 8000
    claim_from: Literal["loopback", "any"] = "loopback"
    registration: Literal["open", "approval", "closed"] = "open"
    access_expires_s: int = 15 * 60
    refresh_expires_s: int = 7 * 86400
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    rate_limit: int = 60
    """Calls a minute from one address without a valid credential; 0: any number."""
    rate_limit_user: int = 3000
    """Calls a minute with one access token, or by one account in its sessions; 0: any number."""
    audit_retention_s: int = 400 * 86400
    audit_max_rows: int = 1_000_000
    """0: any number."""
    smtp: Smtp | None = None
    """None: mail is written to `data_dir/outbox`."""
    mail_from: str = "purser@localhost"
    public_url: str = ""
    max_upload_bytes: int = 100 * 2**20
    user_quota_bytes: int = 10 * 2**30
    max_fcs_bytes: int = 1000 * 2**20
    default_fcs_file: Path | None = None
    """None: who has no FCS file has none."""
    nix_build: str = "nix-build"
    nix_expr: Path | None = None
    """None: the bundled expression, which takes the attribute from <nixpkgs>."""
    nix_options: tuple[str, ...] = ()
    build_concurrency: int = 1
    build_timeout_s: float = 3600
    build_silent_timeout_s: float = 600
    build_log_limit_bytes: int = 16 * 2**20
    min_free_bytes: int = 256 * 2**20
    slow_query_ms: float = 100
    inherited: dict[str, str] = {}
    """PATH, LANG and NIX_* as found: what Nix processes are given of the environment."""

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.database_path}"


class Setting(msgspec.Struct, frozen=True):
    """One line of the settings table: its name, the default as text, what it does, and how its text is read."""

    name: str
    default: str
    meaning: str
    field: str
    read: Callable[[str], Any]


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return text

    return read


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError("expected true or false")
    return known[text.lower()]


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return read


def _duration(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,7})([smhd]?)", text)
    if match is None:
        raise ValueError("expected a time such as 90s, 15m, 12h or 7d")
    return int(match.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match.group(2)]


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("expected a path")
    return Path(os.path.abspath(text))


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"expected words as a shell would split them ({error})") from None


def _origins(text: str) -> tuple[str, ...]:
    try:
        origins = msgspec.json.decode(text.encode(), type=tuple[str, ...])
    except msgspec.DecodeError:
        raise ValueError('expected a JSON list such as ["http://localhost:3000"]') from None
    if any(not re.fullmatch(r"https?://[^/*\s]+", origin) for origin in origins):
        raise ValueError("expected origins such as http://localhost:3000, never *")
    return origins


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in re.split(r"[,\s]+", text) if word)
    except ValueError:
        raise ValueError("expected addresses or CIDR networks, separated by commas") from None


def _database(text: str) -> Path:
    match = re.fullmatch(r"sqlite(?:\+aiosqlite)?:///(.+)", text)
    if match is None:
        raise ValueError(
            "expected sqlite:///relative/path or sqlite:////absolute/path; other engines are not supported"
        )
    return _path(match.group(1))


def _smtp(text: str) -> Smtp:
    """`smtp://` (port 587 with a user, else 25), `smtp+starttls://` (587) or `smtps://` (465)."""
    expected = "expected smtp://, smtp+starttls:// or smtps://, then user:password@ where it needs one, and host:port"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    kinds: dict[str, tuple[Literal["implicit", "starttls"] | None, int]] = {
        "smtp": (None, 587 if parts.username else 25),
        "smtp+starttls": ("starttls", 587),
        "smtps": ("implicit", 465),
    }
    strange = parts.path not in ("", "/") or parts.query or parts.fragment or port == 0
    host = parts.hostname or ""
    named = re.fullmatch(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+", host)
    if parts.scheme not in kinds or named is None or strange or bool(parts.username) != bool(parts.password):
        raise ValueError(expected)
    tls, usual = kinds[parts.scheme]
    user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
    return Smtp(host, port or usual, tls, user or None, password or None)


_ADDRESS = r"[^\s@<>,;:\"\\()\[\]]+@[^\s@<>,;:\"\\()\[\]]+"


def _sender(text: str) -> str:
    if not re.fullmatch(rf"{_ADDRESS}|[^@<>,;:\"\x00-\x1f\x7f]+ <{_ADDRESS}>", text):
        raise ValueError("expected an e-mail address, or a name with one: Purser <purser@example.com>")
    return text


def _public(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError("expected an address such as https://box.example")
    return text.rstrip("/")


def _secret(text: str) -> str:
    if len(os.fsencode(text)) < 32:
        raise ValueError("expected at least 32 bytes")
    return text


_BYTES = _whole(0, 10**18 - 1)
_CALLS = _whole(0, 10**9)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "APP_ENV",
        "development",
        "`development` or `production`; production refuses placeholder secrets. Alias `NODE_ENV`.",
        "app_env",
        _one_of("development", "production"),
    ),
    Setting("DEBUG", "false", "Raises the log level; never changes what clients see.", "debug", _flag),
    Setting(
        "LOG_FORMAT",
        "json",
        "`json`, one object per line on standard output, or `text` for people.",
        "log_format",
        _one_of("json", "text"),
    ),
    Setting("DATA_DIR", "./data", "The folder that holds everything Purser keeps.", "data_dir", _path),
    Setting(
        "DATABASE_URL",
        "",
        "`sqlite:///relative` or `sqlite:////absolute`; wins over `DB_PATH`.",
        "database_path",
        _database,
    ),
    Setting("DB_PATH", "", "Path of the database file; default `DATA_DIR/app.db`.", "database_path", _path),
    Setting(
        "SECRET_KEY",
        "",
        "At least 32 bytes; made in `DATA_DIR/secret.key` when unset. Aliases `JWT_SECRET`, `JWT_SECRET_KEY`.",
        "secret_key",
        _secret,
    ),
    Setting("HOST", "127.0.0.1", "Address that `pkgctl serve` listens on.", "host", str),
    Setting("PORT", "8000", "Port that `pkgctl serve` listens on; 0 takes a free one.", "port", _whole(0, 65535)),
    Setting(
        "CLAIM_FROM",
        "loopback",
        "Who may claim the appliance, by first token or first account: `loopback` (or a Unix socket), or `any`.",
        "claim_from",
        _one_of("loopback", "any"),
    ),
    Setting(
        "REGISTRATION",
        "open",
        "Who may register: `open`, `approval` (an admin activates each account; so in production) or `closed`.",
        "registration",
        _one_of("open", "approval", "closed"),
    ),
    Setting(
        "JWT_ACCESS_EXPIRES",
        "15m",
        "How long a session's access token is good: `90s`, `15m`, `12h`, `7d`.",
        "access_expires_s",
        _duration,
    ),
    Setting(
        "JWT_REFRESH_EXPIRES",
        "7d",
        "How long a session lasts without being refreshed; not shorter than `JWT_ACCESS_EXPIRES`.",
        "refresh_expires_s",
        _duration,
    ),
    Setting(
        "CORS_ORIGINS",
        '["http://localhost:3000"]',
        "JSON list of origins whose pages may call the API; `[]` in production.",
        "cors_origins",
        _origins,
    ),
    Setting(
        "TRUSTED_PROXIES",
        "",
        "Addresses or CIDR networks of proxies whose `X-Forwarded-For` is believed.",
        "trusted_proxies",
        _networks,
    ),
    Setting(
        "RATE_LIMIT_PER_MINUTE",
        "60",
        "Calls a minute from one address (of IPv6 a /64 network) without a valid credential; 0: any number.",
        "rate_limit",
        _CALLS,
    ),
    Setting(
        "RATE_LIMIT_USER_PER_MINUTE",
        "3000",
        "Calls a minute with one access token, or by one account in its sessions; 0: any number.",
        "rate_limit_user",
        _CALLS,
    ),
    Setting(
        "AUDIT_RETENTION",
        "400d",
        "How long the audit trail is kept: `12h`, `400d`.",
        "audit_retention_s",
        _duration,
    ),
    Setting(
        "AUDIT_MAX_ROWS",
        "1000000",
        "How many rows of the audit trail are kept; those of reads go first; 0: any number.",
        "audit_max_rows",
        _whole(0, 10**12),
    ),
    Setting(
        "SMTP_URL",
        "",
        "Mail server: `smtp://host:25`, `smtp+starttls://user:password@host`, `smtps://…`; unset: `DATA_DIR/outbox`.",
        "smtp",
        _smtp,
    ),
    Setting("MAIL_FROM", "purser@localhost", "Who mail comes from.", "mail_from", _sender),
    Setting(
        "PUBLIC_URL",
        "",
        "Where people reach the appliance, such as `https://box.example`; told in mail.",
        "public_url",
        _public,
    ),
    Setting(
        "MAX_UPLOAD_BYTES",
        "104857600",
        "Bytes that one uploaded file may have.",
        "max_upload_bytes",
        _BYTES,
    ),
    Setting(
        "USER_QUOTA_BYTES",
        "10737418240",
        "Bytes that one account may keep in files, documents and FCS files.",
        "user_quota_bytes",
        _BYTES,
    ),
    Setting("MAX_FCS_BYTES", "1048576000", "Bytes that one FCS file may have.", "max_fcs_bytes", _BYTES),
    Setting(
        "DEFAULT_FCS_FILE",
        "",
        "An FCS file that accounts are shown which have none of their own; read at each start.",
        "default_fcs_file",
        _path,
    ),
    Setting("NIX_BUILD", "nix-build", "The nix-build program, a name or a path.", "nix_build", str),
    Setting(
        "NIX_EXPR",
        "",
        "Nix file with a function of `{ name, version }`; unset: the bundled one, which takes `name` from <nixpkgs>.",
        "nix_expr",
        _path,
    ),
    Setting(
        "NIX_OPTIONS",
        "",
        "Extra words for nix-build; offline hosts set `--option substitute false`.",
        "nix_options",
        _words,
    ),
    Setting("BUILD_CONCURRENCY", "1", "How many builds run at once.", "build_concurrency", _whole(1, 64)),
    Setting("BUILD_TIMEOUT", "3600", "Seconds a build may take.", "build_timeout_s", _whole(1, 10**7)),
    Setting(
        "BUILD_SILENT_TIMEOUT", "600", "Seconds a build may stay silent.", "build_silent_timeout_s", _whole(1, 10**7)
    ),
    Setting("BUILD_LOG_LIMIT", "16777216", "Bytes kept of one build's log.", "build_log_limit_bytes", _BYTES),
    Setting(
        "MIN_FREE_BYTES",
        "268435456",
        "Bytes that stay free: in the data folder for uploads, there and in the Nix store for downloads; 0: none.",
        "min_free_bytes",
        _BYTES,
    ),
    Setting(
        "SLOW_QUERY_MS",
        "100",
        "A statement slower than this many milliseconds is logged by its name.",
        "slow_query_ms",
        _whole(0, 10**7),
    ),
)

_MOST_SHOWN = 100
ALIASES = {"JWT_SECRET": "SECRET_KEY", "JWT_SECRET_KEY": "SECRET_KEY", "NODE_ENV": "APP_ENV"}
PLACEHOLDERS = re.compile(r"(change.?me|your.?secret|placeholder|example|^(.)\2*$)", re.IGNORECASE)


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Config:
    """Reads the settings from `environ` (default: the process's), under it from the file `.env` when there is one.

    Raises ConfigError naming the setting, what was expected and what came (never the value of a secret).
    """
    given = dict(os.environ if environ is None else environ)
    known = _dotenv(Path(".env") if dotenv is None else dotenv) | given
    values = {setting.name: _value(setting, known) for setting in SETTINGS}
    fields = {s.field: values[s.name] for s in SETTINGS if values[s.name] is not None}
    fields["data_dir"] = fields.get("data_dir") or _path("./data")
    fields["database_path"] = values["DATABASE_URL"] or values["DB_PATH"] or fields["data_dir"] / "app.db"
    production = fields.get("app_env") == "production"
    if "cors_origins" not in fields:
        fields["cors_origins"] = () if production else ("http://localhost:3000",)
    if production:
        fields.setdefault("registration", "approval")
    if production and PLACEHOLDERS.search(fields.get("secret_key", "")):
        raise ConfigError("SECRET_KEY is a placeholder; in production it must be a random value")
    ours = {setting.name for setting in SETTINGS}
    fields["inherited"] = {
        name: value
        for name, value in given.items()
        if name in ("PATH", "LANG") or (name.startswith("NIX_") and name not in ours)
    }
    config = Config(**fields)
    if config.refresh_expires_s < config.access_expires_s:
        raise ConfigError("JWT_REFRESH_EXPIRES is shorter than JWT_ACCESS_EXPIRES")
    return config


def _value(setting: Setting, known: Mapping[str, str]) -> Any:
    """The setting's value read and checked, None when it is not given anywhere."""
    given = {}
    for name in (setting.name, *(alias for alias, target in ALIASES.items() if target == setting.name)):
        if known.get(name):
            given[name] = known[name]
        if known.get(f"{name}_FILE"):
            given[f"{name}_FILE"] = _from_file(f"{name}_FILE", known[f"{name}_FILE"])
    if not given:
        return None
    if len(set(given.values())) > 1:
        raise ConfigError(f"{' and '.join(given)} say different things; set one of them")
    name, text = next(iter(given.items()))
    try:
        return setting.read(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}{_came(setting, text)}") from None


def _came(setting: Setting, text: str) -> str:
    """What was given, cut short; nothing of what may be a secret, of a database URL the scheme alone."""
    if setting.name in ("SECRET_KEY", "NIX_OPTIONS", "SMTP_URL"):
        return ""
    if setting.name == "DATABASE_URL":
        scheme, colon, _ = text.partition(":")
        return f", not {scheme[:_MOST_SHOWN] + '://…'!r}" if colon else ""
    return f", not {text[:_MOST_SHOWN]!r}"


def _from_file(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: {path} cannot be read ({type(error).__name__})") from None


def _dotenv(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a .env file; empty when there is none. Quotes around a value are taken off."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__})") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            raise ConfigError(f"{path}:{number}: expected NAME=value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name.strip()] = value
    return found
