#!/usr/bin/env bash
# Runs every test of the workspace, says of each row of tests/faults/rows.yaml whether its tests passed, and ends with one
# line: `test: N passed, N failed`. With arguments (a filter) the rows are left out: their tests may not have run.
set -uo pipefail
cd "$(dirname "$0")/.."

# Before the tests, so that nobody waits for minutes without a word: the control plane is built once and cached.
cargo run --quiet -p control-plane -- build || { echo "test: 0 passed, 1 failed"; exit 1; }

# The properties' cases are the same in each run here; `make soak` tries others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

read -r passed failed < <(awk '
    /^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i } }
    END { print p + 0, f + 0 }' "$log")
# What didn't even build or start is a failure too.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ $# -eq 0 ] && ! cargo run --quiet -p faults -- --log "$log"; then
    # A test that failed is counted already.
    [ "$failed" -gt 0 ] || failed=1
    status=1
fi
echo "test: $passed passed, $failed failed"
exit "$status"
