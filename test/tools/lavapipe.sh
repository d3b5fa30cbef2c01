#!/usr/bin/env bash
# Runs a command on lavapipe, Mesa's Vulkan driver for the CPU: unlike SwiftShader it has shader-f16 and subgroups of 8, and its compiler is
# another. Dawn refuses the Mesa of many systems (it wants 25), so the command runs in a Debian 13 of its own.
#
#   test/tools/lavapipe.sh node --import tsx test/tools/run.ts numerics
#
# Inside, the current folder is at its own path, as are /tmp and whatever node_modules links to; Node is Debian's (20.19) with this machine's
# npm; and both software and system adapters are lavapipe.
#
# Needs Linux and root. The first call makes the Debian in LAVAPIPE_ROOT (default /var/cache/vitc-lavapipe) with debootstrap, from Debian's
# archive: about a minute and 650 MB. Compiled shaders are kept there too. Mounts are in a namespace of the command's own, so none is left when
# it ends, however it ends. Calls may overlap.
#
# The exit code is the command's, or 77, after one line on stderr that says why, where lavapipe cannot be had.
set -euo pipefail

root=${LAVAPIPE_ROOT:-/var/cache/vitc-lavapipe}
driver=/usr/share/vulkan/icd.d/lvp_icd.json
log=$root.log

skip() {
  echo "lavapipe: $*" >&2
  exit 77
}

# The last thing that a tool said, on one line.
last_words() {
  tail -n 1 "$log" 2>/dev/null || true
}

get_debootstrap() {
  command -v debootstrap >/dev/null && return
  command -v apt-get >/dev/null || skip "debootstrap is not installed, and there is no apt-get to install it"
  local install=(timeout 120 apt-get install -y -q debootstrap)
  export DEBIAN_FRONTEND=noninteractive
  # A fresh container has no package lists.
  "${install[@]}" >"$log" 2>&1 && return
  timeout 120 apt-get update -q >"$log" 2>&1 && "${install[@]}" >"$log" 2>&1 && return
  skip "debootstrap could not be installed: $(last_words)"
}

# Made under another name and renamed, so that $root is whole or absent. The lock is held until debootstrap's last process has ended.
make_root() {
  flock 9
  [ ! -e "$root$driver" ] || return 0
  [ ! -e "$root" ] || rmdir "$root" 2>/dev/null || skip "LAVAPIPE_ROOT is $root, which holds something else"
  get_debootstrap
  rm -rf --one-file-system "$root.draft"
  timeout 900 debootstrap --force-check-gpg --variant=minbase --include=mesa-vulkan-drivers,libvulkan1,nodejs,ca-certificates trixie "$root.draft" >"$log" 2>&1 || {
    rm -rf --one-file-system "$root.draft"
    skip "debootstrap made no Debian (all it said is in $log): $(last_words)"
  }
  printf '#!/bin/sh\nexec node /opt/npm/bin/npm-cli.js "$@"\n' >"$root.draft/usr/local/bin/npm"
  printf '#!/bin/sh\nexec node /opt/npm/bin/npx-cli.js "$@"\n' >"$root.draft/usr/local/bin/npx"
  chmod +x "$root.draft/usr/local/bin/npm" "$root.draft/usr/local/bin/npx"
  mv -T "$root.draft" "$root"
}

# show FOLDER [AS]: makes a folder visible inside, with what is mounted below it.
show() {
  local at=$root${2:-$1}
  mkdir -p "$at"
  mount --rbind "$1" "$at" 2>/dev/null || skip "$1 could not be mounted at $at, as in a container without the right to mount"
}

if [ "$#" -eq 0 ]; then
  echo "usage: test/tools/lavapipe.sh COMMAND [ARGUMENT...]" >&2
  exit 2
fi
if [ "$1" != --inside ]; then
  [ "$(uname -s)" = Linux ] || skip "it needs Linux, and this is $(uname -s)"
  [ "$(id -u)" -eq 0 ] || skip "it needs root, for chroot and mounts"
  for tool in unshare flock mount chroot; do command -v "$tool" >/dev/null || skip "it needs $tool, which is not installed"; done
  unshare --mount true 2>/dev/null || skip "root has no right to mount here, as in a container without CAP_SYS_ADMIN"
  exec unshare --mount -- "$BASH" "${BASH_SOURCE[0]}" --inside "$@"
fi
shift

here=$(pwd -P)
[ "$here" != / ] || skip "the current folder is /, which has a place of its own inside"
if [ ! -e "$root$driver" ]; then
  mkdir -p "$(dirname "$root")"
  make_root 9>"$root.lock"
fi
# Anyone may make folders in a shared place such as /tmp, and root is about to run what is in this one.
[ -O "$root" ] || skip "$root does not belong to root"

show /proc
show /dev
show /tmp
show "$here"
modules=$(dirname "$(readlink -m node_modules)")
if [ "$modules" != "$here" ] && [ "$modules" != / ] && [ -d "$modules" ]; then show "$modules"; fi
if npm=$(command -v npm); then show "$(dirname "$(dirname "$(readlink -f "$npm")")")" /opt/npm; fi

# Vulkan's loader takes VK_DRIVER_FILES, which decides for system adapters; vitc takes VITC_SWIFTSHADER for software adapters.
exec chroot "$root" /usr/bin/env -u VK_ICD_FILENAMES -u XDG_CACHE_HOME -u LD_PRELOAD -u LD_LIBRARY_PATH \
  VK_DRIVER_FILES="$driver" VITC_SWIFTSHADER="$driver" VITC_TEST_ADAPTER=lavapipe XDG_RUNTIME_DIR=/tmp HOME=/root TMPDIR=/tmp PATH="$PATH:/usr/local/bin:/usr/bin:/bin" \
  sh -c 'cd "$1" && shift && exec "$@"' lavapipe "$here" "$@"
