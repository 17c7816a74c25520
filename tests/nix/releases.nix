# Packages with real versions. The major number says what a build does; NIX_TEST_* tell it where.
{ name, version }:

let
  run = script: derivation {
    inherit name version;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-euc" script ];
    counter = builtins.getEnv "NIX_TEST_COUNTER";
    gate = builtins.getEnv "NIX_TEST_GATE";
  };
  install = ''
    echo "building $name $version"
    if test -n "$counter"; then echo "$name $version" >> "$counter"; fi
    echo "$name $version" > "$out"
  '';
in

{
  "1" = run install;
  "2" = run install;
  "3" = run install;
  "7" = run ''echo "waiting for the gate"; read -r go < "$gate"; ${install}'';
  "8" = run "echo 'about to fail'; echo 'no rule to make it' >&2; exit 3";
}.${builtins.head (builtins.splitVersion version)} or (throw "version ${version} of ${name} is not available")
