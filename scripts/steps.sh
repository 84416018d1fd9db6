# Sourced by test.sh and lint.sh: named steps that all run, a line for each at
# the end, and an exit code that is not 0 if one failed.

step_lines=()
step_failed=0

# step NAME COMMAND... runs the command and remembers how it ended.
step() {
  local name=$1 began=$SECONDS verdict=ok
  shift
  printf '\n=== %s\n' "$name"
  if ! "$@"; then
    verdict=FAILED
    step_failed=$((step_failed + 1))
  fi
  step_lines+=("$(printf '%-7s %-34s %4d s' "$verdict" "$name" $((SECONDS - began)))")
}

# meanwhile COMMAND... runs a command that calls step beside those that follow,
# until rejoin prints what it said. Only one at a time.
meanwhile() {
  lane_said=$(mktemp)
  (
    step_lines=() step_failed=0
    "$@"
    printf '%s\n' "${step_lines[@]}" >"$lane_said.steps"
  ) >"$lane_said" 2>&1 &
  lane=$!
  trap 'kill "$lane" 2>/dev/null || true; rm -f "$lane_said" "$lane_said.steps"' EXIT
}

rejoin() {
  local line
  wait "$lane" || true # a step that failed says so in its line
  cat "$lane_said"
  if ! [ -s "$lane_said.steps" ]; then
    step_lines+=("FAILED  what ran beside the others ended early")
    step_failed=$((step_failed + 1))
    return
  fi
  while IFS= read -r line; do
    step_lines+=("$line")
    case $line in FAILED*) step_failed=$((step_failed + 1)) ;; esac
  done <"$lane_said.steps"
}

# steps_done WHAT prints the summary and exits.
steps_done() {
  printf '\n--- make %s\n' "$1"
  printf '%s\n' "${step_lines[@]}"
  if [ "$step_failed" -ne 0 ]; then
    printf 'make %s: %d of %d steps FAILED (%d s); what failed is printed under "=== NAME" above\n' \
      "$1" "$step_failed" "${#step_lines[@]}" "$SECONDS"
    exit 1
  fi
  printf 'make %s: all %d steps passed (%d s)\n' "$1" "${#step_lines[@]}" "$SECONDS"
}
