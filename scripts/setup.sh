#!/usr/bin/env bash
# Installs what the tests need on a fresh Debian machine that has Go and make.
# What it cannot install it names, with the command that would, and fails:
# a test that is left out unnoticed is worse than one that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
problems=()

# need COMMAND PACKAGE WHY notes the Debian package if the command is not there.
need() {
  command -v "$1" >/dev/null 2>&1 && return
  echo "setup: $1 is missing ($3)"
  missing+=("$2")
}

# as_root fails if neither root nor a sudo without a password is to be had.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# without_services runs a command that installs packages, and none of their
# services is started, now or at the next boot: the tests start servers of their
# own. Before it starts one, Debian asks the program policy-rc.d, if there is one.
without_services() {
  local policy=/usr/sbin/policy-rc.d code=0 unit
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root sh -c "cat >$policy && chmod 755 $policy" || return 1
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  "$@" || code=$?
  for unit in postgresql patroni etcd; do
    case " ${missing[*]} " in
    *" $unit "* | *" $unit-server "*) as_root systemctl disable --quiet "$unit" 2>/dev/null || true ;; # no systemd, no boot
    esac
  done
  return $code
}

# The race detector needs a C compiler, and the compiler the C library's headers.
compiler() {
  echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1 && return
  echo "setup: a C compiler with headers is missing (the race detector needs it)"
  missing+=(gcc libc6-dev)
}

install_missing() {
  [ "${#missing[@]}" -eq 0 ] && return
  echo "setup: installing ${missing[*]}"
  if ! command -v apt-get >/dev/null || ! apt update || ! without_services apt install -y --no-install-recommends "${missing[@]}"; then
    problems+=("could not install ${missing[*]}; do it by hand: sudo apt-get update && sudo apt-get install -y ${missing[*]}")
  fi
}

# postgres_server: Debian keeps its programs out of the PATH.
postgres_server() {
  local dir
  for dir in "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin; do
    [ -x "$dir/initdb" ] && return
  done
  command -v initdb >/dev/null 2>&1 && return
  echo "setup: the server of PostgreSQL is missing (the store of several replicas is tested on it)"
  missing+=(postgresql)
}

# virtual_environments: Debian keeps what makes them out of its python3.
virtual_environments() {
  command -v python3 >/dev/null || { missing+=(python3-venv); return; }
  python3 -c 'import ensurepip, venv' 2>/dev/null && return
  echo "setup: python3 makes no virtual environments (the SDK for Python is tested in some)"
  missing+=(python3-venv)
}

# node_is_new_enough: the counterpart of the end-to-end tests needs 20.
node_is_new_enough() {
  command -v node >/dev/null || return 0 # already named
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || problems+=("node is version $major, want 20 or later: install nodejs of Debian 13 or of your node version manager")
}

# machine names what the faults of the machine need: namespaces and a loop device.
machine() {
  command -v unshare >/dev/null && command -v mkfs.ext4 >/dev/null && command -v ip >/dev/null || return 0 # already named
  unshare --mount --propagation private true 2>/dev/null || {
    problems+=("mounting file systems is not allowed, which the tests in e2e/machine do in a namespace of their own: run as root (in a container: docker run --privileged)")
    return
  }
  unshare --net sh -c 'ip link add one type veth peer name two && ip link add switch type bridge' 2>/dev/null ||
    problems+=("making a network in a namespace is not allowed, or the kernel lacks veth or bridge, which the tests in e2e/patroni need: run as root (in a container: docker run --privileged), modprobe -a veth bridge")
  [ -e /dev/loop-control ] || problems+=("/dev/loop-control is missing, which the tests in e2e/machine need: modprobe loop (in a container: docker run --privileged)")
}

counterpart() {
  command -v npm >/dev/null || return 0 # already named
  local mark=e2e/node_modules/.package-lock.json
  [ "$mark" -nt e2e/package-lock.json ] && return
  echo "setup: installing the counterpart of the end-to-end tests (npm ci in e2e/)"
  (cd e2e && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null) ||
    problems+=("npm ci failed; repeat it to see why: cd e2e && npm ci")
}

modules() {
  { go mod download && go -C e2e/fosite mod download && go -C clients/go/thirdparty mod download; } ||
    problems+=("go mod download failed: is the module proxy reachable? (go env GOPROXY)")
}

if ! command -v go >/dev/null; then
  echo "setup: go is missing: install Go $(sed -n 's/^go //p' go.mod) or later, see https://go.dev/doc/install" >&2
  exit 1
fi
compiler
need git git "generated code is compared with it"
need node nodejs "runs the independent authorization server of the end-to-end tests"
need npm npm "installs that server"
need chromium chromium "the browser of the end-to-end tests"
need strace strace "shows that the synced write comes before the byte that depends on it"
need unshare util-linux "mounts what the tests of the machine's faults break"
need mkfs.ext4 e2fsprogs "makes the disk that turns read-only in those tests"
postgres_server
need patroni patroni "runs the PostgreSQL of three members that the tests in e2e/patroni break"
need etcd etcd-server "keeps what those members agree on"
need ip iproute2 "makes the network between them"
need javac default-jdk-headless "compiles the SDK for Java, 17 or later"
need mvn maven "builds the SDK for Java"
need python3 python3 "runs the SDK for Python and its tests"
need flock util-linux "lets one build of that SDK wait for another"
virtual_environments
install_missing
machine
node_is_new_enough
counterpart
modules

if [ "${#problems[@]}" -gt 0 ]; then
  printf 'setup FAILED: %s\n' "${problems[@]}" >&2
  exit 1
fi
