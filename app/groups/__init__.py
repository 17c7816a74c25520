"""Groups of accounts: what an admin who belongs to one reaches ends at it.

Who belongs to which is kept with the accounts. A group that is deleted lets its people go; those who were admins in it
become users, because an admin without a group reaches everybody.
"""

TABLES = ("groups",)
