#!/usr/bin/env bash
# Runs all tests of the workspace, reports for each row of tests/faults/rows.yaml whether its tests passed, and ends with
# the line `test: N passed, N failed`. With arguments (a filter), the rows are omitted, because their tests may not run.
set -uo pipefail
cd "$(dirname "$0")/.."

# The control plane is built once and cached. This is done before the tests, so that the build shows its progress.
cargo run --quiet -p control-plane -- build || { echo "test: 0 passed, 1 failed"; exit 1; }

# The property tests use the same cases in each run; `make soak` uses others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

read -r passed failed < <(awk '
    /^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i } }
    END { print p + 0, f + 0 }' "$log")
# Tests that could not be built or started count as a failure.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ $# -eq 0 ] && ! cargo run --quiet -p faults -- --log "$log"; then
    # Failed tests are counted already.
    [ "$failed" -gt 0 ] || failed=1
    status=1
fi
echo "test: $passed passed, $failed failed"
exit "$status"
