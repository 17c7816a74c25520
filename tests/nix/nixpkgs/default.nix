# Stands where <nixpkgs> stands: a function of `config` and `overlays` to a set of packages.
{ config, overlays }:

let
  package = attrs: derivation ({
    builder = "/bin/sh";
    args = [ "-c" "echo $name > $out" ];
    system = builtins.currentSystem;
  } // attrs);
in

{
  hello = package { name = "hello-2.10"; version = "2.10"; };
  unversioned = package { name = "unversioned-1.2.3"; };
  # absent
  lib = { version = "1.0.0"; };
  removed = throw "removed has been removed; use hello";
  python3Packages = { numpy = package { name = "python3.9-numpy-1.21.5"; version = "1.21.5"; }; };
  "dotted.name" = package { name = "dotted.name-1.0.0"; version = "1.0.0"; };
  curious = package { name = "curious-1.0.0"; version = builtins.readFile /etc/hostname; };
}
