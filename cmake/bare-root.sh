#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs one of the two commands on a bare Debian 12 that holds a copy of this checkout and nothing else, made with
# debootstrap, and says how long it took:
#   sh cmake/bare-root.sh test|demo [options]
# Needs root, and debootstrap. The root is kept in build/bare-root, and made anew each time.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "bare-root: run as root" >&2; exit 1; }
command -v debootstrap >/dev/null 2>&1 || { echo "bare-root: apt-get install debootstrap" >&2; exit 1; }
[ $# -ge 1 ] || { echo "bare-root: test or demo?" >&2; exit 1; }

top=$(pwd)/build/bare-root
root=$top/root
mkdir -p "$top"
leave() {
  umount -l "$root/dev" 2>/dev/null || true
  umount -l "$root/proc" 2>/dev/null || true
}
trap leave EXIT
leave
if mountpoint -q "$root/dev" || mountpoint -q "$root/proc"; then
  echo "bare-root: $root is still mounted" >&2  # removing it would remove what is mounted there
  exit 1
fi
rm -rf --one-file-system "$root"
if [ ! -e "$top/bare.tar" ]; then
  debootstrap --variant=minbase bookworm "$root" >"$top/debootstrap.log"
  tar -C "$root" -cf "$top/bare.tar" .
else
  mkdir -p "$root"
  tar -C "$root" -xf "$top/bare.tar"
fi

# How this machine reaches Debian's packages and npm: its mirrors, proxies and certificates.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  if [ -e "$list" ]; then cp -f "$list" "$root$list"; fi
done
if [ -e /etc/apt/sources.list.d/debian.sources ]; then rm -f "$root/etc/apt/sources.list"; fi
for name in resolv.conf hosts; do cp -f "/etc/$name" "$root/etc/$name"; done
grep -lsiE 'proxy|cainfo|mirror|retries' /etc/apt/apt.conf.d/* 2>/dev/null | while read -r file; do
  cp -f "$file" "$root/etc/apt/apt.conf.d/"
done
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  cp -f /etc/ssl/certs/ca-certificates.crt "$root/etc/this-machine-ca.crt"
  echo "cafile=/etc/this-machine-ca.crt" >"$root/root/.npmrc"
fi
mkdir "$root/fovea"
tar --exclude=./build --exclude=./.git -cf - . | tar -C "$root/fovea" -xf -
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"

start=$(date +%s)
status=0
# shellcheck disable=SC2046 # one word each
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8 NODE_EXTRA_CA_CERTS=/etc/this-machine-ca.crt \
  ${CI:+CI=$CI} \
  $(env | grep -E '^(HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|NPM_CONFIG_[A-Za-z_]*|npm_config_[A-Za-z_]*)=' | grep -v ' ' || true) \
  chroot "$root" sh -c 'cd /fovea && exec sh cmake/bootstrap.sh "$@"' sh "$@" || status=$?
echo "bare-root: $1 took $(($(date +%s) - start)) s and ended with status $status"
exit "$status"
