#!/usr/bin/env bash
# Runs all tests of the workspace, reports for each row of tests/faults/rows.yaml whether its tests passed, and ends with
# the line `test: N passed, N failed`. With arguments, which are those of `cargo test` (a filter), the rows are omitted,
# because their tests may not run.
set -uo pipefail
cd "$(dirname "$0")/.."

# The tests of tests/operator that start an operator of their own. They take turns on a few control planes and mostly wait,
# so they are run together, and not where the alphabet puts them. A test that is missing here is
# run with all others.
own=(
    replicas:: restart:: silent:: unchecked:: watch_namespaces::
    attacks::answers::a_gigabyte attacks::finalizer::an_object_torn_out_while attacks::flood::
    cluster_provider::served:: deletion::namespaces::after_a_restart kept::killed_after
    renamed::a_role_that_was_created renamed::renamed_while_no_operator
    reports::failing::an_end_without reports::lines:: telemetry::logs_are_json
)

# The control plane is built once and cached. This is done before the tests, so that the build shows its progress.
cargo run --quiet -p control-plane -- build || { echo "test: 0 passed, 1 failed"; exit 1; }

# The property tests use the same cases in each run; `make soak` uses others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}

logs=$(mktemp -d) log=$(mktemp)
trap 'rm -rf "$logs" "$log"' EXIT

# Runs all tests: first those of the other binaries, then those of tests/operator in two parts. Both parts have deadlines
# in real time, and fail on a busy machine if they run at once.
everything() {
    cargo test --workspace --no-run 2>&1 | tee "$logs/build" || return
    local others failed=0
    # `Executable tests/laws/main.rs (target/debug/deps/laws-0a1b)`
    others=$(sed -nE 's|^ *Executable tests/.*/([a-z0-9_]+)-[0-9a-f]+\)$|--test=\1|p' "$logs/build" | grep -vx -e --test=operator)
    [ -n "$others" ] || return
    local target=${CARGO_TARGET_DIR:-$PWD/target}
    export OPERATOR_BINARY=$target/debug/membership-operator
    # shellcheck disable=SC2086 # One word for each binary.
    cargo test --workspace --no-fail-fast --lib --bins $others 2>&1 | tee "$logs/others" || failed=1
    cargo test --workspace --no-fail-fast --doc 2>&1 | tee "$logs/doc" || failed=1
    cargo test --no-fail-fast --test operator -- "${own[@]}" 2>&1 | tee "$logs/own" || failed=1
    cargo test --no-fail-fast --test operator -- "${own[@]/#/--skip=}" 2>&1 | tee "$logs/shared" || failed=1
    return "$failed"
}

if [ $# -eq 0 ]; then
    everything
else
    cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$logs/all"
fi
status=$?
cat "$logs"/* >"$log"

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
