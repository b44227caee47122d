#!/usr/bin/env bash
# Runs all tests of the workspace, reports for each row of tests/faults/rows.yaml whether its tests passed, and ends with
# the line `test: N passed, N failed`. With arguments (a filter), the rows are omitted, because their tests may not run.
set -uo pipefail
cd "$(dirname "$0")/.."

# The control plane is built once and cached. This is done before the tests, so that the build shows its progress.
cargo run --quiet -p control-plane -- build || { echo "test: 0 passed, 1 failed"; exit 1; }
cargo test --workspace --no-run || { echo "test: 0 passed, 1 failed"; exit 1; }

# The property tests use the same cases in each run; `make soak` uses others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}

# The tests of the operator mostly wait. All others run beside them, one program after the other. Both runs select the
# whole workspace, since cargo builds the same packages with other features otherwise.
beside=(--lib --bins)
for target in tests/{,*/tests/}{*.rs,*/main.rs}; do
    name=${target##*tests/}
    name=${name%.rs}
    name=${name%/main}
    [ "$name" = operator ] || beside+=(--test "$name")
done

logs=$(mktemp -d)
run() { cargo test --workspace --no-fail-fast "$@"; }
# In a process group of its own, which ends with this script: a background job does not get the terminal's Ctrl-C.
set -m
run --test operator "$@" >"$logs/operator" 2>&1 &
operator=$!
set +m
trap 'kill -- "-$operator" 2>/dev/null; rm -rf "$logs"' EXIT
status=0
{
    run "${beside[@]}" "$@" || status=1
    run --doc "$@" || status=1
    exit "$status"
} 2>&1 | tee "$logs/beside"
status=${PIPESTATUS[0]}
wait "$operator" || status=1
cat "$logs/operator"
cat "$logs/beside" "$logs/operator" >"$logs/all"

read -r passed failed < <(awk '
    /^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i } }
    END { print p + 0, f + 0 }' "$logs/all")
# Tests that could not be built or started count as a failure.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ $# -eq 0 ] && ! cargo run --quiet -p faults -- --log "$logs/all"; then
    # Failed tests are counted already.
    [ "$failed" -gt 0 ] || failed=1
    status=1
fi
echo "test: $passed passed, $failed failed"
exit "$status"
