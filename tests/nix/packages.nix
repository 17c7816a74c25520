# What a package can do while it is built. The version says which: each is one thing that Nix has to tell.
{ name, version }:

let
  run = more: script: derivation ({
    inherit name version;
    builder = "/bin/sh";
    args = [ "-c" script ];
    system = builtins.currentSystem;
  } // more);
  needed = run { } "echo needed > $out";
in

{
  "1.0.0" = run { } "echo hello; printf '\\033[31mred\\033[0m\\n'; echo $name > $out";
  "2.0.0" = run { } "echo $name again > $out";
  "3.0.0" = run { } "echo $name once more > $out";
  closure = run { inherit needed; } "echo $needed > $out";
  bin = run { outputs = [ "bin" "out" ]; } "echo bin > $bin; echo out > $out";
  two = [ (run { } "echo 1 > $out") (run { one = "more"; } "echo 2 > $out") ];
  slow = run { } "echo begun; /usr/bin/sleep 60; echo $name > $out";
  deaf = run { } "trap '' TERM; echo begun; while :; do /usr/bin/sleep 60; done";
  chatty = run { } "while :; do echo again; /usr/bin/sleep 0.05; done";
  flood = run { } "while :; do echo 0123456789012345678901234567890123456789; done";
  endless = run { } "while :; do printf 0123456789012345678901234567890123456789; done";
  readonly = run { } "echo left > file; /bin/chmod 555 .; exit 1";

  fails = run { } "echo 'about to fail'; echo 'last words' >&2; exit 3";
  needs = run { needed = run { } "echo 'in need'; exit 4"; } "exit 0";
  nothing = run { } "echo fine";
  killed = run { } "kill -9 $$";
  full = run { } "echo 'sh: write error: No space left on device' >&2; exit 1";
  hash = run { outputHash = builtins.hashString "sha256" ""; outputHashAlgo = "sha256"; outputHashMode = "flat"; }
    "echo other > $out";
  elsewhere = run { system = "riscv128-linux"; } "exit 0";

  thrown = throw "no such thing as ${name}";
  type = 1 + "a";
  secret = throw "the secret is (${builtins.getEnv "SECRET_KEY"}), home is ${builtins.getEnv "HOME"}";
}.${version} or (throw "version ${version} of ${name} is not available")
