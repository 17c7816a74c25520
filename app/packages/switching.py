"""Switches profiles: a row first, then Nix, then the rows that follow from what the profile points at."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.actor import APPLIANCE, Actor
from app.db import Database
from app.errors import Conflict, Unavailable
from app.jobs import Locks
from app.packages import activations, service
from app.packages.builder import Nix
from app.packages.store import NixFailed
from app.packages.structs import Activated, ActivationRow

T = TypeVar("T")

log = logging.getLogger("purser.packages")


class Switching:
    """Activation and rollback, one at a time per name. A switch that has begun ends, whoever goes away."""

    def __init__(self, database: Database, nix: Nix) -> None:
        self._database = database
        self._nix = nix
        self._locks = Locks()
        self._running: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Settles every switch that a former process left under way, by what the profile points at."""
        for begun in await self._database.read(activations.unsettled):
            await self._settle(begun)

    async def stop(self) -> None:
        """Waits for the switches under way; each takes 30 s at most."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def activate(self, actor: Actor, package_id: int) -> Activated:
        """Makes a downloaded package the active version of its name; already active: the same answer again."""
        return await self._whole(self._activate(actor, package_id))

    async def rollback(self, actor: Actor, package_id: int) -> Activated:
        """Goes from the active version back to the one that was active before it."""
        return await self._whole(self._rollback(actor, package_id))

    async def _whole(self, switch: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(switch)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _activate(self, actor: Actor, package_id: int) -> Activated:
        found = await self._database.read(service.row, package_id)
        async with self._locks.of(found.name):
            await self._settle_name(found.name)
            begun = await self._database.write(activations.begin, actor, package_id)
            if begun is not None:
                return await self._switch(actor, begun)
            return await self._confirm(actor, package_id)

    async def _rollback(self, actor: Actor, package_id: int) -> Activated:
        found = await self._database.read(service.row, package_id)
        async with self._locks.of(found.name):
            await self._settle_name(found.name)
            return await self._switch(actor, await self._database.write(activations.begin_rollback, actor, package_id))

    async def _switch(self, actor: Actor, begun: ActivationRow) -> Activated:
        try:
            if not await self._nix.verify(begun.store_path):
                damage = f"{begun.store_path} is missing or damaged."
                await self._database.write(activations.undo, begun, damage)
                raise Conflict(damage + " Download it again.", state="failed", failure="damaged")
            generation = await self._nix.profiles.switch(begun.name, begun.store_path)
        except NixFailed as error:
            await self._settle(begun)
            raise Unavailable(f"The profile could not be switched: {error.detail}") from error
        profile = str(self._nix.profiles.path(begun.name))
        log.info("switched", extra={"package": f"{begun.name} {begun.to_version}", "generation": generation})
        return await self._database.write(activations.finish, actor, begun.id, generation, profile)

    async def _confirm(self, actor: Actor, package_id: int) -> Activated:
        """The answer for what is active already; a profile that somebody else moved is put right."""
        found = await self._database.read(service.row, package_id)
        assert found.store_path is not None
        current = self._nix.profiles.current(found.name)
        if current is None or current[0] != found.store_path:
            try:
                await self._nix.profiles.switch(found.name, found.store_path)
            except NixFailed as error:
                raise Unavailable(f"The profile could not be switched: {error.detail}") from error
            current = self._nix.profiles.current(found.name)
        generation = current[1] if current else 0
        profile = str(self._nix.profiles.path(found.name))
        return await self._database.write(activations.confirm, actor, package_id, generation, profile)

    async def _settle_name(self, name: str) -> None:
        """Settles a switch of this name whose outcome could not be written when it ended (the disk was full)."""
        for begun in await self._database.read(activations.unsettled):
            if begun.name == name:
                await self._settle(begun)

    async def _settle(self, begun: ActivationRow) -> None:
        current = self._nix.profiles.current(begun.name)
        if current is not None and current[0] == begun.store_path and begun.to_package_id is not None:
            profile = str(self._nix.profiles.path(begun.name))
            await self._database.write(activations.finish, APPLIANCE, begun.id, current[1], profile)
        else:
            await self._database.write(activations.undo, begun, None)
        log.warning("a switch was settled", extra={"package": f"{begun.name} {begun.to_version}"})
