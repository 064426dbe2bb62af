#!/bin/sh
# Fuzzes one decoder and keeps the inputs that reach something new in tests/fuzz/found/DECODER.
#
#   scripts/fuzz.sh DECODER SECONDS
#
# Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler. No sanitizer: they want a nightly toolchain, and
# what is looked for here are panics, hangs and broken promises in code without `unsafe`.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
fuzz=$root/tests/fuzz
decoder=${1:-}
seconds=${2:-60}

if ! [ -f "$fuzz/libfuzzer/fuzz_targets/$decoder.rs" ]; then
    echo "fuzz: which decoder? DECODER is one of:" $(cd "$fuzz/corpus" && ls) >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: cargo-fuzz is missing. Install it: cargo install cargo-fuzz" >&2
    exit 1
fi

# The versions that everything else is tested with; cargo adds the fuzzer's runtime.
[ -f "$fuzz/libfuzzer/Cargo.lock" ] || cp "$root/Cargo.lock" "$fuzz/libfuzzer/Cargo.lock"
target=${CARGO_TARGET_DIR:-$root/target}/fuzz
found=$fuzz/found/$decoder
mkdir -p "$found" "$target/artifacts/$decoder"
cd "$fuzz"
exec cargo fuzz run --fuzz-dir libfuzzer --target-dir "$target" --sanitizer none "$decoder" \
    "$found" "corpus/$decoder" -- \
    -max_total_time="$seconds" -timeout=10 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$target/artifacts/$decoder/"
