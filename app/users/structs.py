"""Accounts as other rooms see them."""

import msgspec


class Account(msgspec.Struct, frozen=True):
    """Who an account is and what it may be: its id, name, role and status."""

    id: int
    username: str
    role: str
    status: str
