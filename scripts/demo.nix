# A small set of packages to try Purser with: built by /bin/sh alone, without a network, in two or three seconds.
{ name, version }:

let
  releases = {
    security-patch = [ "2.1.0" "2.2.0" "2.3.0" ];
    hello = [ "2.10" "2.12.1" ];
    telemetry-agent = [ "1.0.0" "1.1.0-rc.1" ];
  };

  refuse = why: throw "version ${version} of ${name} is not available: ${why}";

  # A sandbox may hold no program but /bin/sh. Then nothing pauses, and the output is the script instead of bin/NAME.
  script = ''
    pause() { if test -x /usr/bin/sleep; then /usr/bin/sleep "$1"; fi; }
    echo "unpacking $name $version"
    pause 0.3
    part=0
    while test "$part" -lt 5; do
      part=$((part + 1))
      echo "compiling part $part of 5"
      sum=0
      i=0
      while test "$i" -lt 20000; do i=$((i + 1)); sum=$(((sum * 31 + i) % 65521)); done
      echo "  checksum $sum"
      pause 0.2
    done
    echo "installing into $out"
    if test -x /bin/mkdir && test -x /bin/chmod; then
      /bin/mkdir -p "$out/bin"
      program="$out/bin/$name"
    else
      program="$out"
    fi
    echo "#!/bin/sh" > "$program"
    echo "echo $name $version" >> "$program"
    if test "$program" != "$out"; then /bin/chmod 755 "$program"; fi
  '';

  offered = releases.${name} or (refuse "the demo has ${toString (builtins.attrNames releases)}");
in

if !builtins.elem version offered then
  refuse "the demo has ${toString offered}"
else
  derivation {
    inherit name version;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-eu" "-c" script ];
  }
