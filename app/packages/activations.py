"""The rules of activation: one active version per name, and a stack of what was active before."""

from msgspec import UNSET, UnsetType

from app.actor import Actor
from app.audit import service as audit
from app.db import Tx, load
from app.errors import Conflict, Unavailable
from app.packages import service
from app.packages.structs import Activated, Activation, ActivationRow, PackageRow, StackEntry, activation_shown

q = load("packages")


def page(tx: Tx, package_id: int, *, after: int, limit: int) -> list[Activation]:
    """The switches of the package's name, the oldest first, behind the id `after`."""
    name = service.row(tx, package_id).name
    found = tx.many(q.activations_page, ActivationRow, name=name, after=after, limit=limit)
    return [activation_shown(activation) for activation in found]


def count(tx: Tx, package_id: int) -> int:
    """How many switches the package's name has had."""
    return tx.value(q.count_activations, int, name=service.row(tx, package_id).name) or 0


def begin(tx: Tx, actor: Actor, package_id: int) -> ActivationRow | None:
    """Notes that the profile is about to be switched to this version; None when it points there already."""
    wanted = service.row(tx, package_id)
    if wanted.status == "activated":
        return None
    if wanted.status != "downloaded":
        raise Conflict(f"Only a downloaded package can be activated; this one is {wanted.status}.", state=wanted.status)
    return _begin(tx, actor, "activate", tx.one(q.active_of, PackageRow, name=wanted.name), wanted)


def begin_rollback(tx: Tx, actor: Actor, package_id: int) -> ActivationRow:
    """Notes that the profile is about to go back to the version that was active before this one."""
    active = service.row(tx, package_id)
    if active.status != "activated":
        raise Conflict(f"Only the active version can be rolled back; this one is {active.status}.", state=active.status)
    entry = tx.one(q.before_active, StackEntry, name=active.name, active_id=package_id)
    if entry is None:
        raise Conflict(f"No version of {active.name} was active before this one.", state=active.status)
    return _begin(tx, actor, "rollback", active, service.row(tx, entry.package_id))


def _begin(tx: Tx, actor: Actor, kind: str, active: PackageRow | None, wanted: PackageRow) -> ActivationRow:
    begun = tx.one(
        q.begin_switch,
        ActivationRow,
        name=wanted.name,
        kind=kind,
        from_package_id=active.id if active else None,
        from_version=active.version if active else None,
        to_package_id=wanted.id,
        to_version=wanted.version,
        store_path=wanted.store_path,
        actor_id=actor.user_id,
        actor_name=actor.who.user_name,
        now=tx.now,
    )
    if begun is None:
        raise Conflict(f"{wanted.name} is being switched already.", state="switching")
    return begun


def finish(tx: Tx, actor: Actor, activation_id: int, generation: int, profile: str) -> Activated:
    """Moves the rows, after the profile was read back and points at the version. Unavailable when it was undone."""
    begun = tx.one(q.activation_by_id, ActivationRow, id=activation_id)
    if begun is None or begun.to_package_id is None or not _end(tx, begun, "done", generation):
        raise Unavailable("The switch was settled otherwise.")
    tx.exec(q.set_inactive, name=begun.name, now=tx.now)
    tx.exec(q.set_active, id=begun.to_package_id, now=tx.now)
    from_id: int | UnsetType = UNSET
    if begun.kind == "rollback":
        from_id = begun.from_package_id or UNSET
        entry = tx.value(q.stack_entry, int, name=begun.name, package_id=begun.to_package_id)
        tx.exec(q.pop_above, name=begun.name, entry_id=entry or 0)
    audit.record(tx, actor, f"packages.{begun.kind}", f"packages/{begun.to_package_id}")
    return active(tx, begun.to_package_id, generation, profile, from_id)


def confirm(tx: Tx, actor: Actor, package_id: int, generation: int, profile: str) -> Activated:
    """The answer to activating what is active already."""
    audit.record(tx, actor, "packages.activate", f"packages/{package_id}")
    return active(tx, package_id, generation, profile)


def active(tx: Tx, package_id: int, generation: int, profile: str, from_id: int | UnsetType = UNSET) -> Activated:
    """What the profile points at, as an answer; `previous_id` is where a rollback would lead."""
    found = service.row(tx, package_id)
    if found.status != "activated" or found.store_path is None:
        raise Conflict(f"The package has just become {found.status}.", state=found.status)
    entry = tx.one(q.before_active, StackEntry, name=found.name, active_id=package_id)
    return Activated(
        status="activated",
        id=found.id,
        name=found.name,
        version=found.version,
        profile=profile,
        store_path=found.store_path,
        generation=generation,
        previous_id=entry.package_id if entry else None,
        from_id=from_id,
    )


def undo(tx: Tx, begun: ActivationRow, damage: str | None) -> None:
    """Notes that the switch did not happen; with `damage`, that the version's path is missing or broken."""
    _end(tx, begun, "undone", None)
    if damage is not None and begun.to_package_id is not None:
        tx.exec(q.mark_damaged, id=begun.to_package_id, failure_detail=damage, now=tx.now)


def _end(tx: Tx, begun: ActivationRow, status: str, generation: int | None) -> bool:
    return bool(tx.exec(q.end_switch, id=begun.id, status=status, generation=generation, now=tx.now))


def unsettled(tx: Tx) -> list[ActivationRow]:
    """The switches of which nobody knows yet whether they happened."""
    return tx.many(q.unsettled, ActivationRow)
