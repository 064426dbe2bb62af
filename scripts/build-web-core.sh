#!/bin/sh
# Builds what the browser runs of the cores: crates/web-core/wasm -> web/sdk/src/core.wasm (the participant) and
# crates/web-core/wasm/sound -> web/sdk/src/sound.wasm (what is heard)
#
#   scripts/build-web-core.sh [OUTPUT] [-- CARGO ARGUMENTS]     e.g. /tmp/test.wasm -- --features vectors
#
# With OUTPUT only the participant's core is built, there.
# Takes the rustup target wasm32-unknown-unknown where it is installed, else Debian's rustc-web with rust-web-src and a
# standard library built from that source. Builds in target/web-core and is incremental.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
output=$root/web/sdk/src/core.wasm
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    case $1 in /*) output=$1 ;; *) output=$PWD/$1 ;; esac
    shift
fi
[ "${1:-}" = -- ] && shift

target=wasm32-unknown-unknown
wasm=$root/crates/web-core/wasm
debian_rustc=/usr/bin/rustc

# The browser runs the versions that the native build runs: one lock file, cut down by cargo to what is needed here.
lock=$wasm/Cargo.lock
stamp=$root/target/web-core/Cargo.lock.main
mkdir -p "$root/target/web-core" "$(dirname "$output")"
if ! [ -f "$lock" ] || ! cmp -s "$root/Cargo.lock" "$stamp"; then
    cp "$root/Cargo.lock" "$lock"
    cp "$root/Cargo.lock" "$stamp"
fi

# What the caller set for native builds does not hold here, but for a compiler cache.
unset CARGO_BUILD_TARGET RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
export CARGO_TARGET_DIR="$root/target/web-core"
export CARGO_INCREMENTAL=0
# No name of the building machine's folders in the module, so that two machines build the same bytes.
flags="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"

has_rustup_target() {
    [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$target/lib" ]
}

has_debian() {
    [ -x "$debian_rustc" ] && [ -d "$("$debian_rustc" --print sysroot)/lib/rustlib/src/rust/library" ]
}

if has_rustup_target; then
    :
elif has_debian; then
    export RUSTC="$debian_rustc"
    # Building std from source is not stable; with the source of the same compiler it is sound.
    export RUSTC_BOOTSTRAP=1
    for linker in \
        "$("$debian_rustc" --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld" \
        "$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld" \
        /usr/bin/wasm-ld /usr/bin/wasm-ld-*
    do
        if [ -x "$linker" ]; then
            export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
            break
        fi
    done
    if [ -z "${CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER:-}" ]; then
        echo "build-web-core: no linker for WebAssembly. Install one: apt install lld" >&2
        exit 1
    fi
    set -- -Zbuild-std=std,panic_abort "$@"
else
    cat >&2 <<-'END'
	build-web-core: no Rust compiler for WebAssembly here. Install one of:
	    rustup target add wasm32-unknown-unknown
	    apt install rustc-web rust-web-src        (Debian)
	END
    exit 1
fi

# build PACKAGE MODULE OUTPUT [CARGO ARGUMENTS]
build() {
    package=$1 module=$2 to=$3
    shift 3
    RUSTFLAGS="$flags" cargo build --manifest-path "$wasm/Cargo.toml" --package "$package" \
        --target "$target" --release "$@"
    built=$CARGO_TARGET_DIR/$target/release/$module.wasm
    # An unchanged module keeps its time, so that what depends on it is not built again.
    cmp -s "$built" "$to" || cp "$built" "$to"
    printf '%s: %s bytes, %s gzip -> %s\n' "$(basename "$to")" "$(wc -c <"$to")" "$(gzip -9c "$to" | wc -c)" "$to"
}

if [ "$output" = "$root/web/sdk/src/core.wasm" ]; then
    build darktower-sound-wasm sound_wasm "$root/web/sdk/src/sound.wasm" "$@"
fi
build darktower-web-core-wasm core_wasm "$output" "$@"
