"""Settings: where they are read from, what is refused and in which words, and that the documents name them all."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.config import ALIASES, SETTINGS, Config, ConfigError, Smtp, load
from tests.support import ROOT

KEY = "k3y-that-is-Long-enough-for-anybody-0123456789"
NAMES = [setting.name for setting in SETTINGS]


def given(folder: Path, **environ: str) -> Config:
    return load(environ, dotenv=folder / ".env")


def refusal(folder: Path, **environ: str) -> str:
    """The one line with which the settings are refused."""
    with pytest.raises(ConfigError) as raised:
        given(folder, **environ)
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


def test_nothing_needs_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load({})
    assert config == Config(
        data_dir=tmp_path / "data",
        database_path=tmp_path / "data" / "app.db",
        cors_origins=("http://localhost:3000",),
    )
    assert config.database_url == f"sqlite:///{tmp_path}/data/app.db"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("APP_ENV", "production", "app_env", "production"),
        ("DEBUG", "TRUE", "debug", True),
        ("DEBUG", "off", "debug", False),
        ("LOG_FORMAT", "text", "log_format", "text"),
        ("DATA_DIR", "/var/lib/purser", "data_dir", Path("/var/lib/purser")),
        ("DATABASE_URL", "sqlite:////srv/p.db", "database_path", Path("/srv/p.db")),
        ("DB_PATH", "/srv/q.db", "database_path", Path("/srv/q.db")),
        ("SECRET_KEY", KEY, "secret_key", KEY),
        ("HOST", "::1", "host", "::1"),
        ("PORT", "0", "port", 0),
        ("CLAIM_FROM", "any", "claim_from", "any"),
        ("REGISTRATION", "closed", "registration", "closed"),
        ("JWT_ACCESS_EXPIRES", "90s", "access_expires_s", 90),
        ("JWT_ACCESS_EXPIRES", "12h", "access_expires_s", 43200),
        ("JWT_REFRESH_EXPIRES", "30d", "refresh_expires_s", 2592000),
        ("JWT_REFRESH_EXPIRES", "3600", "refresh_expires_s", 3600),
        (
            "CORS_ORIGINS",
            '["https://a.example", "http://b:3000"]',
            "cors_origins",
            ("https://a.example", "http://b:3000"),
        ),
        ("CORS_ORIGINS", "[]", "cors_origins", ()),
        ("RATE_LIMIT_PER_MINUTE", "0", "rate_limit", 0),
        ("RATE_LIMIT_PER_MINUTE", "1000000000", "rate_limit", 10**9),
        ("RATE_LIMIT_USER_PER_MINUTE", "7", "rate_limit_user", 7),
        ("AUDIT_RETENTION", "12h", "audit_retention_s", 43200),
        ("AUDIT_RETENTION", "400d", "audit_retention_s", 400 * 86400),
        ("AUDIT_MAX_ROWS", "0", "audit_max_rows", 0),
        ("AUDIT_MAX_ROWS", "1000000000000", "audit_max_rows", 10**12),
        ("SMTP_URL", "smtp://mail.example", "smtp", Smtp("mail.example", 25)),
        ("SMTP_URL", "smtp://mail.example:2525/", "smtp", Smtp("mail.example", 2525)),
        ("SMTP_URL", "smtp://[::1]:25", "smtp", Smtp("::1", 25)),
        ("SMTP_URL", "smtp://u:p@mail.example", "smtp", Smtp("mail.example", 587, None, "u", "p")),
        ("SMTP_URL", "smtp+starttls://mail.example", "smtp", Smtp("mail.example", 587, "starttls")),
        ("SMTP_URL", "smtps://a%40b:p%3A%2F%40%23@h", "smtp", Smtp("h", 465, "implicit", "a@b", "p:/@#")),
        ("SMTP_URL", "smtps://u:Gr%C3%BC%C3%9Fe@h:465", "smtp", Smtp("h", 465, "implicit", "u", "Grüße")),
        ("MAIL_FROM", "box@example.com", "mail_from", "box@example.com"),
        ("MAIL_FROM", "The Box <box@example.com>", "mail_from", "The Box <box@example.com>"),
        ("PUBLIC_URL", "https://box.example", "public_url", "https://box.example"),
        ("PUBLIC_URL", "http://192.0.2.1:8000/purser//", "public_url", "http://192.0.2.1:8000/purser"),
        ("NIX_BUILD", "/opt/nix-build", "nix_build", "/opt/nix-build"),
        ("NIX_EXPR", "/srv/set.nix", "nix_expr", Path("/srv/set.nix")),
        ("NIX_OPTIONS", "--option substitute 'false '", "nix_options", ("--option", "substitute", "false ")),
        ("BUILD_CONCURRENCY", "2", "build_concurrency", 2),
        ("BUILD_TIMEOUT", "9", "build_timeout_s", 9),
        ("BUILD_SILENT_TIMEOUT", "8", "build_silent_timeout_s", 8),
        ("BUILD_LOG_LIMIT", "1024", "build_log_limit_bytes", 1024),
        ("MAX_UPLOAD_BYTES", "1000", "max_upload_bytes", 1000),
        ("USER_QUOTA_BYTES", "0", "user_quota_bytes", 0),
        ("MAX_FCS_BYTES", "1000", "max_fcs_bytes", 1000),
        ("DEFAULT_FCS_FILE", "/srv/sample.fcs", "default_fcs_file", Path("/srv/sample.fcs")),
        ("MIN_FREE_BYTES", "0", "min_free_bytes", 0),
        ("SLOW_QUERY_MS", "0", "slow_query_ms", 0),
    ],
)
def test_a_setting_is_read_from_the_environment_a_file_or_dotenv(
    tmp_path: Path, name: str, text: str, field: str, value: object
) -> None:
    assert getattr(given(tmp_path, **{name: text}), field) == value
    (tmp_path / "value").write_text(text + "\n")
    assert getattr(given(tmp_path, **{f"{name}_FILE": str(tmp_path / "value")}), field) == value
    (tmp_path / ".env").write_text(f"# a comment\n\nexport {name}={text}\n")
    assert getattr(given(tmp_path), field) == value


def test_trusted_proxies_are_addresses_and_networks(tmp_path: Path) -> None:
    found = given(tmp_path, TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8 ::1,fd00::/8").trusted_proxies
    assert [str(network) for network in found] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128", "fd00::/8"]


def test_every_setting_was_tried_above() -> None:
    """A setting that is added without a test of how it is read is noticed here."""
    tried: list[Any] = [
        mark.args[1] for mark in test_a_setting_is_read_from_the_environment_a_file_or_dotenv.pytestmark
    ]
    assert {case[0] for case in tried[0]} | {"TRUSTED_PROXIES"} == set(NAMES)


def test_a_session_lasts_at_least_as_long_as_its_access_token(tmp_path: Path) -> None:
    assert refusal(tmp_path, JWT_ACCESS_EXPIRES="8d") == "JWT_REFRESH_EXPIRES is shorter than JWT_ACCESS_EXPIRES"
    assert given(tmp_path, JWT_ACCESS_EXPIRES="8d", JWT_REFRESH_EXPIRES="8d").access_expires_s == 8 * 86400


def test_production_asks_for_approval_unless_told_otherwise(tmp_path: Path) -> None:
    assert given(tmp_path).registration == "open"
    assert given(tmp_path, APP_ENV="production").registration == "approval"
    assert given(tmp_path, APP_ENV="production", REGISTRATION="open").registration == "open"


def test_an_empty_setting_is_not_set(tmp_path: Path) -> None:
    assert given(tmp_path, **dict.fromkeys(NAMES, "")) == given(tmp_path)


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=\"81\"\nHOST = '0.0.0.0'\n")
    config = given(tmp_path, PORT="82")
    assert (config.port, config.host) == (82, "0.0.0.0")


@pytest.mark.parametrize("line", ["PORT", "1PORT=1", "PO RT=1", "=1", "PORT: 1"])
def test_a_dotenv_line_that_says_nothing_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"HOST=localhost\n{line}\n")
    assert refusal(tmp_path) == f"{tmp_path}/.env:2: expected NAME=value"


def test_a_dotenv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    assert "cannot be read" in refusal(tmp_path)


def test_a_value_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert refusal(tmp_path, SECRET_KEY_FILE=str(missing)) == (
        f"SECRET_KEY_FILE: {missing} cannot be read (FileNotFoundError)"
    )
    assert "cannot be read" in refusal(tmp_path, PORT_FILE=str(tmp_path))


@pytest.mark.parametrize("alias", ["JWT_SECRET", "JWT_SECRET_KEY"])
def test_the_secret_key_has_aliases(tmp_path: Path, alias: str) -> None:
    assert given(tmp_path, **{alias: KEY}).secret_key == KEY
    assert given(tmp_path, **{alias: KEY, "SECRET_KEY": KEY}).secret_key == KEY
    (tmp_path / "key").write_text(KEY)
    assert given(tmp_path, **{f"{alias}_FILE": str(tmp_path / "key")}).secret_key == KEY


def test_node_env_stands_for_app_env(tmp_path: Path) -> None:
    assert given(tmp_path, NODE_ENV="production").app_env == "production"
    assert ALIASES == {"JWT_SECRET": "SECRET_KEY", "JWT_SECRET_KEY": "SECRET_KEY", "NODE_ENV": "APP_ENV"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("SECRET_KEY", "JWT_SECRET"), ("JWT_SECRET", "JWT_SECRET_KEY"), ("SECRET_KEY", "JWT_SECRET_KEY")],
)
def test_two_names_of_one_setting_that_differ_stop_the_start(tmp_path: Path, one: str, other: str) -> None:
    text = refusal(tmp_path, **{one: KEY, other: KEY + "!"})
    assert text == f"{one} and {other} say different things; set one of them"


def test_a_value_and_a_file_that_differ_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("81\n")
    file = str(tmp_path / "port")
    assert refusal(tmp_path, PORT="80", PORT_FILE=file) == "PORT and PORT_FILE say different things; set one of them"
    assert given(tmp_path, PORT="81", PORT_FILE=file).port == 81
    assert "APP_ENV and NODE_ENV" in refusal(tmp_path, APP_ENV="development", NODE_ENV="production")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("APP_ENV", "prod", "expected development or production, not 'prod'"),
        ("DEBUG", "maybe", "expected true or false, not 'maybe'"),
        ("LOG_FORMAT", "xml", "expected json or text, not 'xml'"),
        ("CLAIM_FROM", "all", "expected loopback or any, not 'all'"),
        ("REGISTRATION", "yes", "expected open or approval or closed, not 'yes'"),
        ("JWT_ACCESS_EXPIRES", "0", "expected a time such as 90s, 15m, 12h or 7d, not '0'"),
        ("JWT_ACCESS_EXPIRES", "15 m", "expected a time such as 90s, 15m, 12h or 7d, not '15 m'"),
        ("JWT_REFRESH_EXPIRES", "1w", "expected a time such as 90s, 15m, 12h or 7d, not '1w'"),
        ("PORT", "65536", "expected a whole number from 0 to 65535, not '65536'"),
        ("PORT", "-1", "expected a whole number from 0 to 65535, not '-1'"),
        ("PORT", "8e3", "expected a whole number from 0 to 65535, not '8e3'"),
        ("PORT", "٨", "expected a whole number from 0 to 65535, not '٨'"),
        ("PORT", "80\n81", "expected a whole number from 0 to 65535, not '80\\n81'"),
        ("BUILD_CONCURRENCY", "0", "expected a whole number from 1 to 64, not '0'"),
        ("BUILD_TIMEOUT", "1.5", "expected a whole number from 1 to 10000000, not '1.5'"),
        ("BUILD_LOG_LIMIT", "16MiB", "expected a whole number from 0 to 999999999999999999, not '16MiB'"),
        ("MIN_FREE_BYTES", "-1", "expected a whole number from 0"),
        ("SLOW_QUERY_MS", "9" * 30, "expected a whole number"),
        ("CORS_ORIGINS", "http://a", "expected a JSON list"),
        ("CORS_ORIGINS", '["*"]', "never *"),
        ("CORS_ORIGINS", '["http://a/path"]', "expected origins"),
        ("CORS_ORIGINS", '["http://*.a"]', "expected origins"),
        ("CORS_ORIGINS", "[1]", "expected a JSON list"),
        ("TRUSTED_PROXIES", "proxy.local", "expected addresses or CIDR networks"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "expected addresses or CIDR networks"),
        ("NIX_OPTIONS", "'open", "expected words as a shell would split them"),
        ("DATABASE_URL", "app.db", "expected sqlite:///relative/path"),
        ("DATABASE_URL", "mysql://h/d", "other engines are not supported, not 'mysql://…'"),
        ("DATABASE_URL", "sqlite://", "expected sqlite:///relative/path"),
        ("DATABASE_URL", "sqlite:///", "expected sqlite:///relative/path"),
        ("DATA_DIR", "a\0b", "expected a path"),
        ("RATE_LIMIT_PER_MINUTE", "-1", "expected a whole number from 0 to 1000000000, not '-1'"),
        ("RATE_LIMIT_PER_MINUTE", "60/m", "expected a whole number from 0 to 1000000000, not '60/m'"),
        ("RATE_LIMIT_USER_PER_MINUTE", "1000000001", "expected a whole number from 0 to 1000000000"),
        ("RATE_LIMIT_USER_PER_MINUTE", "off", "expected a whole number from 0 to 1000000000, not 'off'"),
        ("AUDIT_RETENTION", "0", "expected a time such as 90s, 15m, 12h or 7d, not '0'"),
        ("AUDIT_RETENTION", "1y", "expected a time such as 90s, 15m, 12h or 7d, not '1y'"),
        ("AUDIT_MAX_ROWS", "1e6", "expected a whole number from 0 to 1000000000000, not '1e6'"),
        ("AUDIT_MAX_ROWS", "1000000000001", "expected a whole number from 0 to 1000000000000"),
        *(
            ("SMTP_URL", url, "expected smtp://, smtp+starttls:// or smtps://")
            for url in (
                "mail.example",
                "http://mail.example",
                "smtp:mail.example",
                "smtp://",
                "smtp://:25",
                "smtp://h:0",
                "smtp://h:65536",
                "smtp://h:x",
                "smtp://[::1",
                "smtp://h/path",
                "smtp://h?tls=no",
                "smtp://h#x",
                "smtps://user@h",
                "smtps://user:@h",
                "smtps://u:p#q@h",
                "smtps://u:p/q@h",
                "smtps://:p@h",
                "smtps://ho st",
                "smtps://h\x01",
            )
        ),
        *(
            ("MAIL_FROM", sender, "expected an e-mail address, or a name with one")
            for sender in (
                "box",
                "@example.com",
                "a@b@c",
                "a@b\nBcc: eve@example.com",
                "Box <a@b",
                "Box\r\nBcc: x <a@b>",
                "<a@b>",
                "a@b, c@d",
                "A, B <a@b>",
                "a,b@example.com",
                "a:b@example.com",
            )
        ),
        *(
            ("PUBLIC_URL", url, "expected an address such as https://box.example")
            for url in (
                "box.example",
                "ftp://box.example",
                "https://",
                "https://box.example/?a=b",
                "https://box.example/#a",
                "https://u:p@box.example",
                "https://box example",
                "https://box.example\nevil",
                "javascript://box.example",
                "https:///path",
                "https://box'; reboot '",
            )
        ),
        ("SECRET_KEY", "short", "expected at least 32 bytes"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_setting(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    line = refusal(tmp_path, **{name: text})
    assert line.startswith(f"{name}: ")
    assert expected in line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", "s3same"),
        ("JWT_SECRET", "s3same"),
        ("JWT_SECRET_KEY", "s3same"),
        ("DATABASE_URL", "postgresql://purser:s3same@db/purser"),
        ("DATABASE_URL", "postgresql://db/purser?user=u&password=s3same"),
        ("DATABASE_URL", "s3same"),
        ("NIX_OPTIONS", "--option access-tokens github.com=s3same '"),
        ("SMTP_URL", "s3same"),
        ("SMTP_URL", "smtp://user:s3same@mail.example:x"),
        ("SMTP_URL", "smtp://user:s3same@"),
        ("SMTP_URL", "http://user:s3same@mail.example"),
        ("SMTP_URL", "smtps://user:s3same#@mail.example"),
        ("SMTP_URL", "smtps://user:4/s3same@mail.example"),
        ("SMTP_URL", "smtps://s3same@mail.example"),
        ("SMTP_URL", "smtps://user:s3same@[mail.example"),
        ("SMTP_URL", "smtps://user:s3same@mail.example?x"),
        ("SMTP_URL", "smtps://user:s3same\u2100@mail.example"),
    ],
)
def test_a_refusal_never_shows_a_secret(tmp_path: Path, name: str, text: str) -> None:
    assert "s3same" not in refusal(tmp_path, **{name: text})
    (tmp_path / "value").write_text(text)
    assert "s3same" not in refusal(tmp_path, **{f"{name}_FILE": str(tmp_path / "value")})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///./a/b.db", "a/b.db"),
        ("sqlite+aiosqlite:///relative.db", "relative.db"),
        ("sqlite:////srv/abs.db", "/srv/abs.db"),
        ("sqlite+aiosqlite:////srv/abs.db", "/srv/abs.db"),
    ],
)
def test_a_database_url_is_relative_or_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert given(tmp_path, DATABASE_URL=url).database_path == tmp_path / path


def test_database_url_wins_over_db_path_and_that_over_the_data_folder(tmp_path: Path) -> None:
    folder = {"DATA_DIR": "/srv/data"}
    assert given(tmp_path, **folder).database_path == Path("/srv/data/app.db")
    assert given(tmp_path, **folder, DB_PATH="/srv/b.db").database_path == Path("/srv/b.db")
    both = given(tmp_path, **folder, DB_PATH="/srv/b.db", DATABASE_URL="sqlite:////srv/c.db")
    assert both.database_path == Path("/srv/c.db")


@pytest.mark.parametrize(
    "key",
    [
        "change-me-change-me-change-me-change-me",
        "CHANGEME0123456789012345678901234567890",
        "your-secret-key-here-0123456789-0123456789",
        "this-is-only-a-placeholder-0123456789012",
        "example-example-example-example-example",
        "a" * 64,
    ],
)
def test_production_refuses_a_placeholder_key(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, APP_ENV="production", SECRET_KEY=key) == (
        "SECRET_KEY is a placeholder; in production it must be a random value"
    )
    assert given(tmp_path, SECRET_KEY=key).secret_key == key
    assert given(tmp_path, APP_ENV="production", SECRET_KEY=KEY).secret_key == KEY
    assert given(tmp_path, APP_ENV="production").secret_key is None


def test_production_lets_no_other_origin_in_by_default(tmp_path: Path) -> None:
    assert given(tmp_path, APP_ENV="production").cors_origins == ()
    assert given(tmp_path, APP_ENV="production", CORS_ORIGINS='["https://a"]').cors_origins == ("https://a",)


def test_nix_inherits_what_it_needs_and_none_of_our_settings(tmp_path: Path) -> None:
    environ = {"PATH": "/bin", "LANG": "C", "NIX_PATH": "nixpkgs=/srv", "NIX_BUILD": "x", "NIX_OPTIONS": "-v"}
    found = given(tmp_path, **environ, HOME="/root", SECRET_KEY=KEY, AWS_SECRET="s").inherited
    assert found == {"PATH": "/bin", "LANG": "C", "NIX_PATH": "nixpkgs=/srv"}


def test_env_example_holds_every_setting_with_its_default_and_meaning() -> None:
    text = (ROOT / ".env.example").read_text()
    assert re.findall(r"^# ?([A-Z_]+)=(.*)$", text, re.MULTILINE) == [(s.name, s.default) for s in SETTINGS]
    comments = " ".join(re.findall(r"^# (?![A-Z_]+=)(.*)$", text, re.MULTILINE))
    assert [s.name for s in SETTINGS if s.meaning not in comments] == []


def test_env_example_changes_nothing_when_it_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert given(tmp_path) == given(tmp_path / "elsewhere")


def test_env_example_may_be_used_with_every_line_switched_on(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^# ?([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    assert given(tmp_path) == given(tmp_path / "elsewhere")


@pytest.mark.parametrize("setting", SETTINGS, ids=NAMES)
def test_the_readme_names_every_setting_with_its_default(setting: Any) -> None:
    """In the table of its section "Settings": name, default, meaning."""
    section = re.search(r"^#+ Settings\n(.*?)(?=^#+ |\Z)", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.group(1).splitlines()]
    found = [row for row in rows if row[0].strip("`") == setting.name]
    assert len(found) == 1
    assert found[0][1].strip("`") == setting.default
    assert len(found[0][2]) > 10
