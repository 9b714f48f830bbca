#!/bin/sh
# SPDX-License-Identifier: MIT
# The pictures and maps of Bos Wars (GPL-2+; Debian's boswars-data, 74 MB), from which this experiment makes its scenes.
# Prints the folder that they are in. As root it installs what is missing, otherwise it prints the line to run.
set -eu

data=/usr/share/games/boswars

say() { printf '%s\n' "counting: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

if [ ! -e "$data/maps/river.map/setup.sms" ]; then
  command -v apt-get >/dev/null 2>&1 || fail "no $data here, and no apt-get to install Debian's boswars-data with"
  if [ "$(id -u)" -ne 0 ]; then
    say "run this line, then this program again:"
    printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends boswars-data\n' >&2
    exit 1
  fi
  say "apt-get install boswars-data (74 MB)"
  apt-get -q -o Acquire::Retries=3 update >&2 || say "apt-get update had errors; going on"
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends \
    boswars-data >&2 || fail "apt-get could not install boswars-data"
  [ -e "$data/maps/river.map/setup.sms" ] || fail "boswars-data was installed, but $data/maps/river.map is not there"
fi
printf '%s\n' "$data"
