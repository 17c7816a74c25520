# Builds that end when they are told to, each at a gate of its own: the FIFO $NIX_TEST_GATES/NAME-VERSION. The word that
# comes through it says how. The major number says what waits there: 1 the builder with a child, 2 also a grandchild in a
# session of its own, 3 a builder that does not listen to TERM; 4 has no gate. `made` tells one package from a later one
# of the same name and version, so that what was built for the one is not there for the other.
{ name, version }:

let
  gate = "${builtins.getEnv "NIX_TEST_GATES"}/${name}-${version}";
  wait = before: ''
    ${before}
    /usr/bin/sleep 600 & child=$!
    echo "waiting for the gate"
    read -r word < "$gate"
    kill -9 $child
    test "$word" = go || exit 3
  '';
in

derivation {
  name = "${name}-${version}";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  made = builtins.readFile "${gate}.made";
  inherit gate;
  args = [
    "-euc"
    ''
      ${{
        "1" = wait "";
        "2" = wait "/usr/bin/setsid /usr/bin/sleep 600 > /dev/null 2>&1 &";
        "3" = wait "trap '' TERM";
        "4" = "";
      }.${builtins.head (builtins.splitVersion version)}}
      echo "$name" > "$out"
    ''
  ];
}
