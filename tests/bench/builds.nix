# What the benchmark has built. The name says what a build does, the version makes it a build of its own.
{ name, version }:

let
  run = script: derivation {
    inherit name version;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-euc" script ];
  };
  line = "cc -O2 -g -fPIC -Wall -Wextra -I./include -I./src -DNDEBUG -DVERSION=2.10.0 -c src/module/source.c -o build/module/source.o";
in

{
  # One path for every version: after the first time there is nothing left to build.
  known = derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-euc" "echo known > $out" ];
  };
  new = run "echo $name $version > $out";

  computes = run "echo begun; while :; do :; done";
  prints = run "echo begun; exec /usr/bin/yes '${line}'";

  # 1 GiB in lines like a compiler's; every MiB begins with the time at which it is printed.
  floods = run ''
    block=0
    while test $block -lt 1024; do
      /usr/bin/date '+begun at %s.%N'
      /usr/bin/yes '${line}' | /usr/bin/head -c 1048576
      echo
      block=$((block + 1))
    done
    echo done > $out
  '';
}.${name}
