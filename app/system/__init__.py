"""What keeps the appliance in use: is it alive, is it ready, which version is it. Owns no table."""

TABLES: tuple[str, ...] = ()
