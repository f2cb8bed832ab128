# For scripts to source. quietly <what it is> <log> <command>: prints one line, and all of the output if it fails.
# shellcheck shell=bash
quietly() {
  local what=$1 log=$2
  shift 2
  echo "$what (log: $log)"
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "$what failed" >&2
    exit 1
  fi
}
