"""The software on the appliance: fetched with nix-build, switched to and back with Nix profiles.

A package (one name and version) is `created → downloading → downloaded → activated`, or `failed`; an attempt is
`queued → running → succeeded | failed | cancelled | interrupted`; an activation is `switching → done | undone`. What
each state means stands beside its table in sql/migrations.

`service`, `attempts` and `activations` hold the rules; `downloads` takes attempts off the queue; `switching` moves
profiles; `events` tells what happens to a download. `nix` turns values into command lines and Nix's log into failures;
`builder` builds, `store` and `profiles` ask about what is there and move it; `supervision` starts the processes,
`survivors` ends those of a former life.
"""

TABLES = ("packages", "package_attempts", "package_activations")
