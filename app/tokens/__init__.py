"""Access tokens. A token is active, expired (its time is over) or revoked; it never comes back from either.

The secret is shown once, when it is made. Kept are its SHA-256 and its first 12 characters.
"""

TABLES = ("tokens",)
