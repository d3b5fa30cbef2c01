#!/usr/bin/env bash
# npm run test:lavapipe [-- PATTERN...]: suites that compute, on lavapipe. The last line is `N passed, N failed, N skipped`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Not device/random, device/families and numerics/heads: each model has kernels of its own, and LLVM takes seconds for a kernel.
[ "$#" -gt 0 ] || set -- numerics/gemm numerics/attention numerics/kernels numerics/launches numerics/image device/adapter device/parity device/precision device/limits device/endurance device/session device/fallback device/self-test

# Most of the time goes into LLVM, and it takes a third without its optimiser, which no result may depend on.
status=0
GALLIVM_PERF=nopt test/tools/lavapipe.sh node --import tsx test/tools/run.ts "$@" || status=$?
[ "$status" -eq 77 ] || exit "$status"
echo "0 passed, 0 failed, 1 skipped"
