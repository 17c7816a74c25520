"""Wires everything: `create_app(config)`, `mounted(config, path)`, and `app` for `uvicorn app.main:app`.

Importing this module reads no environment; `create_app` does no I/O. All of that happens when the lifespan is entered.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp

from app import logs
from app.actor import CALLERS, Identity
from app.audit import service as audit
from app.audit.retention import Retention
from app.audit.trail import Trail
from app.auth.authentication import Sessions
from app.auth.letters import Letters
from app.blobs import Blobs, Sweeper
from app.config import Config, ConfigError, load
from app.datadir import BLOBS, OUTBOX, derive_key, open_database, prepare, secret_key
from app.db import Database
from app.errors import MethodNotAllowed, NotFound, PurserError, StartError
from app.fcs import service as fcs
from app.fcs.storing import Storing as FcsStoring
from app.fcs.worker import Computing
from app.files import service as files
from app.files.storing import Storing
from app.mail import MailServer, Outbox
from app.packages.builder import Nix
from app.packages.downloads import Downloads
from app.packages.routes import Works
from app.packages.switching import Switching
from app.passwords import Passwords
from app.routes import ALIASES, ROUTES
from app.signals import on_stop_signal
from app.tokens.authentication import Tokens
from app.values import Quota, not_before, seconds, source_of
from app.web.access import PUBLIC, Credential, Endpoint, Guarded, RouteLine
from app.web.callers import Callers
from app.web.limits import Limit
from app.web.middleware import Cors, Reception
from app.web.router import IndexRouter
from app.web.sse import Streams

EXPOSED = ["ETag", "Link", "Location", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]
EXPOSED += ["X-Request-ID", "X-Total-Count"]


class FrontDesk:
    """Hands the guard what it needs from the rooms: who a credential belongs to, and where calls are noted."""

    def __init__(self, config: Config) -> None:
        self.callers: Callers
        self.trail: Trail
        self._strangers = Limit[str](config.rate_limit) if config.rate_limit else None
        self._users = Limit[int](config.rate_limit_user) if config.rate_limit_user else None

    def known(self, credential: Credential) -> Identity | None:
        """The identity when it is cached and holds here."""
        return self.callers.known(credential)

    async def identify(self, credential: Credential) -> Identity:
        """Looks the caller up; a refusal says why not, and leaves the token's id for the trail."""
        return await self.callers.identify(credential)

    def counted(self, credential: Credential, who: Identity | None) -> Quota | None:
        """Counts a call: of a token by itself, of a session with its account's others, of a stranger by address."""
        if who is not None:
            return None if self._users is None else self._users.take(who.token_id or -who.user_id)
        return None if self._strangers is None else self._strangers.take(source_of(credential.call.ip))

    async def about_to_change(self) -> None:
        """Sends the calls that have ended on their way into the trail, where they stand before the change."""
        await self.trail.begin()

    def seen(self, credential: Credential, who: Identity | None, status: int, refusal: PurserError | None) -> None:
        """Notes a call in the audit trail."""
        self.trail.call(credential.call, who, status, refusal, credential.token_id, credential.session_id)


class Purser(Starlette):
    """The application. Every answer is made by an `Endpoint`, so Starlette's own error layers are left out."""

    def build_middleware_stack(self) -> ASGIApp:
        """The router inside our layers, and no others."""
        stack: ASGIApp = self.router
        for layer in reversed(self.user_middleware):
            stack = layer.cls(stack, *layer.args, **layer.kwargs)
        return stack


def create_app(config: Config) -> Purser:
    """The whole application for one configuration. It does no I/O before its lifespan is entered."""
    app = Purser()
    desk = FrontDesk(config)
    app.state.config = config
    app.router = IndexRouter(
        [Guarded(line, desk) for line in ROUTES],
        not_found=Endpoint(RouteLine("*", "(none)", _not_found, PUBLIC, query=dict), desk),
        not_allowed=Endpoint(RouteLine("*", "(method)", _not_allowed, PUBLIC, query=dict), desk),
        aliases=ALIASES,
        lifespan=lambda _: _running(app, config, desk),
    )
    if config.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "Last-Event-ID", "Range", "X-Request-ID"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(Reception, trusted_proxies=config.trusted_proxies)
    return app


async def _not_found(request: Request) -> Response:
    raise NotFound("There is nothing at this path.")


async def _not_allowed(request: Request) -> Response:
    allow = request.scope["allow"]
    raise MethodNotAllowed(f"{request.method} is not possible here; {', '.join(allow)} is.", allow=allow)


@asynccontextmanager
async def _running(app: Purser, config: Config, desk: FrontDesk) -> AsyncIterator[None]:
    """Everything that lives as long as the service does, in the order in which it depends on each other."""
    prepare(config)
    async with AsyncExitStack() as stack:
        database = await open_database(config)
        stack.push_async_callback(database.close)
        app.state.db = database
        last = await database.read(audit.newest)
        if last is not None:
            not_before(seconds(last.at))
        secret = secret_key(config)
        app.state.cursor_key = derive_key(secret, "cursors")
        key = derive_key(secret, "sessions")
        app.state.sessions = Sessions(database, key, config.access_expires_s, config.refresh_expires_s)
        app.state.passwords = passwords = Passwords()
        stack.push_async_callback(passwords.close)
        desk.callers = Callers(database, (Tokens(database), app.state.sessions))
        app.state.streams = streams = Streams()
        database.subscribe(CALLERS, streams.recheck)
        desk.trail = app.state.trail = Trail(database)
        stack.push_async_callback(desk.trail.close)
        app.state.retention = Retention(database, config.audit_retention_s, config.audit_max_rows)
        stack.push_async_callback(app.state.retention.stop)
        await app.state.retention.start()
        app.state.outbox = outbox = Outbox(config.data_dir / OUTBOX, config.mail_from)
        mailer = outbox if config.smtp is None else MailServer(config.smtp, config.mail_from)
        letters = Letters(database, mailer, outbox, config.public_url)
        stack.push_async_callback(letters.stop)
        letters.start()
        blobs = Blobs(config.data_dir / BLOBS, config.min_free_bytes)
        blobs.prepare()
        app.state.files = Storing(database, blobs, config.max_upload_bytes, config.user_quota_bytes)
        await app.state.files.recover()
        app.state.fcs = fcs_storing = FcsStoring(database, blobs, config.max_fcs_bytes, config.user_quota_bytes)
        await fcs_storing.recover(config.default_fcs_file)
        app.state.fcs_computing = computing = Computing(database, blobs)
        stack.push_async_callback(computing.stop)
        computing.start()
        sweeper = Sweeper(blobs, database, [files.named, fcs.named])
        stack.push_async_callback(sweeper.stop)
        sweeper.start()
        app.state.packages = works = _packages(config, database)
        await works.downloads.recover()  # first of all: a surviving nix-env may still be switching
        stack.push_async_callback(works.switching.stop)
        await works.switching.start()
        stack.push_async_callback(works.downloads.stop)
        await works.downloads.start()
        stack.push_async_callback(streams.close)
        with on_stop_signal(streams.stop), on_stop_signal(computing.end_waits):
            yield


def _packages(config: Config, database: Database) -> Works:
    nix = Nix(
        program=config.nix_build,
        expression=config.nix_expr,
        options=config.nix_options,
        inherited=config.inherited,
        data_dir=config.data_dir,
        timeout_s=config.build_timeout_s,
        silent_timeout_s=config.build_silent_timeout_s,
        log_limit_bytes=config.build_log_limit_bytes,
        min_free_bytes=config.min_free_bytes,
    )
    downloads = Downloads(database, nix, config.data_dir, config.build_concurrency)
    return Works(downloads, Switching(database, nix))


def mounted(config: Config, path: str) -> tuple[Mount, AbstractAsyncContextManager[None]]:
    """A Mount for a host application, and the lifespan that the host must enter while it runs.

    Starlette does not run the lifespan of an inner application, so the host does: `async with lifespan: yield`.
    """
    inner = create_app(config)
    return Mount(path, app=inner), _entered(inner)


@asynccontextmanager
async def _entered(inner: Purser) -> AsyncIterator[None]:
    async with inner.router.lifespan_context(inner):
        yield


def _from_environment() -> ASGIApp:
    """The application that the environment describes; a bad setting stops its start with one clear line."""
    try:
        config = load()
    except ConfigError as error:
        return IndexRouter([], not_found=_absent, not_allowed=_absent, aliases={}, lifespan=_failing(error))
    logs.configure(as_json=config.log_format == "json", debug=config.debug, logger="purser")
    return create_app(config)


def _failing(error: ConfigError) -> Any:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        raise error
        yield  # type: ignore[unreachable]  # what makes it a generator

    return lifespan


async def _absent(scope: Any, receive: Any, send: Any) -> None:
    raise StartError("Purser has not started.")


def __getattr__(name: str) -> Any:
    """`app` is made when it is first asked for, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = _from_environment()
    return made
