"""Accounts. Owns the claim: the one act, ever, by which the appliance becomes somebody's.

An account is pending (registered, waits for an admin), active, inactive or suspended; only an active one signs in. What
ends its sessions (password, status, role, group) raises `session_epoch` in the same statement; what refers to it alone
goes with it.
"""

TABLES = ("users", "claims")
