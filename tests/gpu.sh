#!/bin/sh
# What only a machine with a GPU can tell: whether training there comes to what training on the CPU comes to, how fast
# it is, and what memory it takes. Some minutes.
#
#   tests/gpu.sh [MIMEO [PARITY]]
#
# MIMEO: the program (`cargo build --release`), PARITY: the parity tests (`cargo build --release --package mimeo-tests
# --test parity`). Both run where no Rust is, so they can be made elsewhere and carried along with this folder.
# Without them they are built here. OUT names the folder for what was measured; MIMEO_TEST_DEVICE the device, as
# `--device` does (the first real GPU otherwise).
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-target/gpu}
mkdir -p "$out"

mimeo=${1:-}
parity=${2:-}
if [ -z "$mimeo" ]; then
    cargo build --release --package mimeo-companion
    mimeo=${CARGO_TARGET_DIR:-target}/release/mimeo
fi
if [ -z "$parity" ]; then
    parity=$(cargo test --release --package mimeo-tests --test parity --no-run --message-format json |
        sed -n 's/.*"executable":"\([^"]*parity[^"]*\)".*/\1/p' | tail -n 1)
fi

export MIMEO_TEST_DEVICE="${MIMEO_TEST_DEVICE:-gpu}" MIMEO_REQUIRE_GPU=1

echo "== Steps on the GPU beside steps on the CPU"
# Not through a pipe, which would hide that it failed.
result=0
"$parity" gpu:: --nocapture > "$out/parity.txt" 2>&1 || result=$?
cat "$out/parity.txt"
[ "$result" = 0 ]

echo "== Seconds and memory of steps at the sizes of real models, with random weights"
bench() {
    "$mimeo" bench device --json --device "$MIMEO_TEST_DEVICE" "$@" | tee -a "$out/bench.jsonl"
}
: > "$out/bench.jsonl"
bench --bases sd1 --sizes 512,768 --methods plain,addift
bench --bases sd1 --sizes 512 --methods plain --recompute on
bench --bases sdxl --sizes 1024 --methods plain --steps 3
