#!/usr/bin/env bash
# Installs what building and testing need and is not there yet. Safe to run
# again: with everything present it takes well under a second.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

has() { command -v "$1" >/dev/null 2>&1; }

wasm_target_present() {
  local sysroot
  sysroot=$(rustc --print sysroot 2>/dev/null) || return 1
  [ -d "$sysroot/lib/rustlib/wasm32-unknown-unknown/lib" ]
}

# Debian's compiler for the web beside its source, with which the standard
# library is built for the browser where rustup has no target to offer.
debian_wasm_present() {
  [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust/library/std ]
}

packages=()
want() { # want <program> <package>
  has "$1" || packages+=("$2")
}

has rustc && has cargo || {
  echo "setup: a Rust toolchain is needed first: https://rustup.rs" >&2
  exit 1
}
want cc build-essential
want git git
want curl curl
want node nodejs
want npm npm
want ffmpeg ffmpeg
# The servers that tests of the stores start for themselves.
want redis-server redis-server
want redis-cli redis-tools
want psql postgresql-client
want setpriv util-linux
want faketime faketime
[ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
[ -x /usr/sbin/haproxy ] || packages+=(haproxy)
want patroni patroni
want etcd etcd-server
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || packages+=(postgresql)
has chromium || has chromium-browser || has google-chrome || packages+=(chromium)

if ! wasm_target_present && ! debian_wasm_present; then
  if has rustup && timeout 120 rustup target add wasm32-unknown-unknown >/dev/null 2>&1; then
    echo "setup: added the Rust target wasm32-unknown-unknown"
  else
    packages+=(rustc-web rust-web-src)
  fi
fi

if [ "${#packages[@]}" -gt 0 ]; then
  if ! has apt-get; then
    echo "setup: please install: ${packages[*]}" >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if has sudo && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      echo "setup: please run: sudo apt-get install ${packages[*]}" >&2
      exit 1
    fi
  fi
  echo "setup: installing ${packages[*]}"
  # Debian starts a server that it installs, now and at each boot: tests start their own, and none is wanted beside.
  services=()
  for package in redis-server postgresql pgbouncer haproxy patroni etcd-server; do
    case " ${packages[*]} " in *" $package "*) services+=("${package/etcd-server/etcd}") ;; esac
  done
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
  fi
  "${as_root[@]}" apt-get -q update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y install --no-install-recommends "${packages[@]}"
  if [ -d /run/systemd/system ] && [ "${#services[@]}" -gt 0 ]; then
    "${as_root[@]}" systemctl disable --quiet "${services[@]}"
  fi
fi

node_major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
if [ "$node_major" -lt 20 ]; then
  echo "setup: Node 20.19 or newer is needed, this is $(node --version)" >&2
  exit 1
fi

# npm packages, once for each content of the lock file.
if [ -f web/package-lock.json ]; then
  stamp=web/node_modules/.setup-stamp
  wanted=$(sha256sum web/package-lock.json | cut -d' ' -f1)
  if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm --prefix web ci --no-audit --no-fund
    echo "$wanted" >"$stamp"
  fi
fi
