"""Groups of accounts: an admin who belongs to one reaches that group alone. Nothing here serves them yet."""

TABLES = ("groups",)
