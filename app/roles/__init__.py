"""Roles: what accounts may do, and how far. Four are built in and stay; others are made of any permissions.

An account has a first role, kept with the account, and others beside it, kept here.
"""

TABLES = ("roles", "user_roles")
