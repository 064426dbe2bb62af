#!/usr/bin/env bash
# Builds what `make bench-peers` compares with: the relay of the moq project from
# its registry, at a pinned version, and the load on the relay's own client.
# Usage: build-peers.sh <folder>
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:?a folder for what is built}
# With bench/peers/Cargo.toml, which pins the client of the same release.
version=0.17.10
# Half an hour on two cores; what else runs here comes first.
gently=(nice -n 19)

installed() {
	[[ -x $folder/bin/moq-relay ]] && [[ $(cat "$folder/version" 2>/dev/null) == "$version" ]]
}

if ! installed; then
	echo "building moq-relay $version (many minutes)" >&2
	"${gently[@]}" cargo install moq-relay --version "$version" --features io-uring \
		--root "$folder" --target-dir "$folder/build" --force --quiet
	echo "$version" > "$folder/version"
fi

"${gently[@]}" cargo build --release --quiet --locked --manifest-path bench/peers/Cargo.toml \
	--target-dir "$folder/build"
