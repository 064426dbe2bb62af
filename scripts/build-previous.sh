#!/usr/bin/env bash
# Builds the program of another commit, for tests of updates: build-previous.sh <commit> <directory>
set -euo pipefail
commit=$(git rev-parse --verify "$1^{commit}")
# Cargo is run in the other tree.
place=$(realpath -m "$2")
source=$place/source
mkdir -p "$place"
if [ ! -e "$place/$commit" ]; then
  rm -rf "$source"
  git worktree prune
  git worktree add --quiet --detach "$source" "$commit"
  trap 'git worktree remove --force "$source"' EXIT
  # With its page: who has it open sees the update, too.
  npm --prefix "$source/web" ci --silent
  (cd "$source" && ./scripts/build-web-core.sh && npm --prefix web --silent run build &&
    cargo build --quiet --profile quick --package darktower --bin darktower --target-dir "$place/target")
  cp "$place/target/quick/darktower" "$place/$commit"
fi
ln -sf "$commit" "$place/darktower"
