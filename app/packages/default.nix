# One package of <nixpkgs>, in exactly the version that was asked for.
# `name` is an attribute of nixpkgs, or a path of attributes as in `nix-build -A python3Packages.numpy`; what is not
# there in that version is refused in the words that Purser knows.
{ name, version }:

let
  packages = import <nixpkgs> { config = { }; overlays = [ ]; };

  refuse = why: throw "version ${version} of ${name} is not available: ${why}";

  path = builtins.filter builtins.isString (builtins.split "[.]" name);
  below = set: attribute: if builtins.isAttrs set then set.${attribute} or null else null;
  found = packages.${name} or (builtins.foldl' below packages path);

  package =
    if found == null then refuse "nixpkgs has nothing of that name"
    else if builtins.isAttrs found && found.type or null == "derivation" then found
    else refuse "what nixpkgs has under that name is no package";

  offered = package.version or (builtins.parseDrvName package.name).version;
in

if offered == version then package else refuse "nixpkgs has version ${offered}"
