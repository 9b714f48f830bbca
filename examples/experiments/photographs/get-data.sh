#!/bin/sh
# SPDX-License-Identifier: MIT
# The data of the experiment "photographs", below build/data/photographs: originals/ links to real photographs from apt, signs/
# holds real speed limits from npm, drawn as PNG files. Run from anywhere; what is there already is not fetched again.
#
# On Debian and its kin, what is missing is installed with apt-get (430 MB); without root the line to run is printed instead.
set -eu
cd "$(dirname "$0")/../../.."

sprites=@rapideditor/mapillary_sprite_source@1.8.0 # MIT
data=build/data/photographs
incoming=build/data/incoming-signs
height=256
contents="all speed limits of $sprites, $height pixels high"

say() { printf '%s\n' "get-data: $*"; }
fail() {
  printf '%s\n' "get-data: $*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

missing=
is_there() { # is_there <Debian package> <test...>
  package=$1
  shift
  "$@" || missing="$missing $package"
}
installed() { [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]; }

# The marker is written last, so that it stands for a folder that is whole.
signs_are_there() { [ "$(cat "$data/signs/source.txt" 2>/dev/null)" = "$contents" ]; }

have apt-get || fail "the photographs are Debian packages; apt-get expected"
is_there lomiri-wallpapers-16.04 test -e /usr/share/backgrounds/Dragonfly_by_Bolly.jpg
is_there lomiri-wallpapers-20.04 test -e /usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg
is_there enlightenment-data installed enlightenment-data
if ! signs_are_there; then
  is_there librsvg2-bin have rsvg-convert
  is_there npm have npm
fi
missing=${missing# }
if [ -n "$missing" ]; then
  if [ "$(id -u)" -ne 0 ]; then
    say "these packages are missing: $missing" >&2
    say "run this line, then the same command again:" >&2
    printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n' "$missing" >&2
    exit 1
  fi
  mkdir -p build
  say "apt-get update"
  apt-get -q -o Acquire::Retries=3 update >build/apt.log 2>&1 || say "apt-get update had errors (build/apt.log); going on"
  say "apt-get install -y --no-install-recommends $missing"
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install \
    --no-install-recommends $missing >>build/apt.log 2>&1 || {
    tail -n 15 build/apt.log >&2
    fail "apt-get could not install them; the whole log is build/apt.log"
  }
fi

mkdir -p "$data/originals"
for photograph in /usr/share/backgrounds/*.jpg /usr/share/enlightenment/data/backgrounds/*.edj; do
  ln -sf "$photograph" "$data/originals/"
done
say "photographs in $data/originals: $(find "$data/originals" -type l | wc -l) files"

if signs_are_there; then
  say "the signs are in $data/signs already"
  exit 0
fi

say "npm pack $sprites (4 MB)"
rm -rf "$incoming"
mkdir -p "$incoming/signs"
(
  cd "$incoming"
  npm pack "$sprites" --loglevel=error --fetch-retries=2 --fetch-timeout=60000 >npm.log 2>&1 && tar -xzf ./*.tgz
) || {
  tail -n 5 "$incoming/npm.log" >&2
  fail "npm could not deliver $sprites"
}

say "drawing the speed limits"
count=0
# Speed limits of all kinds, but none that are lifted.
for svg in "$incoming"/package/package_signs/*--*speed-limit-*[0-9]--g*.svg; do
  case $svg in *--end-of-*) continue ;; esac
  [ -f "$svg" ] || fail "no speed limits in what npm delivered"
  rsvg-convert --keep-aspect-ratio --height "$height" --output "$incoming/signs/$(basename "$svg" .svg).png" "$svg" ||
    fail "rsvg-convert could not draw $(basename "$svg")"
  count=$((count + 1))
done
printf '%s\n' "$contents" >"$incoming/signs/source.txt"
mkdir -p "$data"
rm -rf "$data/signs"
mv "$incoming/signs" "$data/signs"
rm -rf "$incoming"
say "$count signs in $data/signs"
