"""Accounts. Owns the claim: the one act, ever, by which the appliance becomes somebody's."""

TABLES = ("users", "claims")
