# One package for every way in which a download fails; its name says which. It succeeds from the moment on when a file
# of its name lies in $NIX_TEST_MENDED: the cause is gone.
{ name, version }:

let
  mended = builtins.getEnv "NIX_TEST_MENDED" + "/" + name;
  unlessMended = wrong: if builtins.pathExists mended then run { } ":" else wrong;

  run = more: script: derivation ({
    inherit name version mended;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    gate = builtins.getEnv "NIX_TEST_GATES" + "/" + name;
    args = [ "-uc" ''
      echo "building $name $version"
      if test ! -e "$mended"; then
        ${script}
      fi
      echo "$name $version" > "$out"
    '' ];
  } // more);
  wait = ''echo "$name waits"; read -r go < "$gate"'';
in

{
  thrown = unlessMended (throw "nothing is known of ${name}");
  mistyped = unlessMended (1 + "a");
  misspelt = unlessMended (import (builtins.toFile "misspelt.nix" "{ a = 1"));
  text = unlessMended "no package";
  none = unlessMended { };
  two = unlessMended [ (run { } ":") (run { other = "more"; } ":") ];

  fails = run { } "echo 'about to fail'; echo 'no rule to make it' >&2; exit 3";
  mute = run { } "exec > /dev/null; exit 1";
  coloured = run { } "printf '\\033[31m%02000d\\033[0m\\r\\n' 7; exit 1";
  terminated = run { } "kill -TERM $$";
  killed = run { } "kill -KILL $$";
  unmade = run { } "echo 'made nothing'; exit 0";
  needy = run { part = run { name = "part"; } "echo 'a part fails'; exit 4"; } ":";
  foreign = unlessMended (run { system = "riscv128-linux"; } ":");
  tampered = run {
    outputHash = builtins.hashString "sha256" "tampered 1.0.0\n";
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
  } "echo other > $out; exit 0";

  slow = run { } "echo begun; exec /usr/bin/sleep 60";
  chatty = run { } "while :; do echo again; /usr/bin/sleep 0.05; done";
  flood = run { } "while :; do echo 0123456789012345678901234567890123456789; done";
  parts = run {
    parts = builtins.genList (n: run { name = "part-${toString n}"; } "printf '%01000d\\n' ${toString n}") 10;
  } "exec /usr/bin/sleep 60";
  colours = run { } "while :; do printf '\\033[31m\\033[32m\\033[33m\\033[34m\\033[0m.\\n'; done";

  waits-and-tells = run { } "${wait}; printf '%020000d\\n' 0; exec /usr/bin/sleep 60";
  waits-and-dies = run { } "${wait}; exit 5";
  fills = run { } "echo begun; /usr/bin/head -c 50000000 /dev/zero > $out || exit 1";
  fills-unheard = run { } "echo begun; /usr/bin/head -c 50000000 /dev/zero > $out 2> /dev/null; exit 0";

  composed = run { part = builtins.storePath (builtins.getEnv "NIX_TEST_PART"); } ''echo "$part" > "$out"; exit 0'';
}.${name} or (if builtins.substring 0 6 name == "waits-" then run { } wait else unlessMended (throw "version ${version} of ${name} is not available"))
