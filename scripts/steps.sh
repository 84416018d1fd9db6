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
