# One package of <nixpkgs>, in exactly the version that was asked for.
# `name` is an attribute of nixpkgs; anything else than its own version is refused in the words that Purser knows.
{ name, version }:

let
  packages = import <nixpkgs> { config = { }; overlays = [ ]; };

  refuse = why: throw "version ${version} of ${name} is not available: ${why}";

  found = packages.${name} or (refuse "nixpkgs has nothing of that name");

  package =
    if builtins.isAttrs found && found.type or null == "derivation"
    then found
    else refuse "what nixpkgs has under that name is no package";

  offered = package.version or (builtins.parseDrvName package.name).version;
in

if offered == version then package else refuse "nixpkgs has version ${offered}"
