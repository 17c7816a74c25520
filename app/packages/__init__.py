"""The software on the appliance: fetched with nix-build, switched to and back with Nix profiles.

A package (one name and version) is `created → downloading → downloaded → activated`, or `failed`; an attempt is
`queued → running → succeeded | failed | cancelled | interrupted`; an activation is `switching → done | undone`. What
each state means stands beside its table in sql/migrations.

`nix` turns values into command lines and Nix's log into failures; `builder` starts the processes; `downloads` takes
attempts off the queue; `switching` moves profiles; `service` holds the rules.
"""

TABLES = ("packages", "package_attempts", "package_activations")
