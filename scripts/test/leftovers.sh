# Ends what tests left behind (read by test.sh). Processes are known by a variable that they inherited, mounts
# by the run's own temporary directory, so that nobody else's are touched.

# run_processes ID: the processes, this shell's own aside, that have STARLIGHT_TEST_RUN=ID in their environment
run_processes() {
  local dir pid
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    case $pid in "$$" | "$BASHPID") continue ;; esac
    if grep -qzxF "STARLIGHT_TEST_RUN=$1" "$dir/environ" 2>/dev/null &&
      [ "$(awk '/^PPid:/ {print $2}' "$dir/status" 2>/dev/null)" != "$$" ]; then echo "$pid"; fi
  done
}

# run_mounts DIR: mount points under DIR, the deepest first
run_mounts() {
  awk -v d="$1/" 'index($2, d) == 1 {print $2}' /proc/self/mounts | sort -r
}

# wait_for_leftovers ID: what ends by itself once its mount is gone (a descriptor holder looks every 20 s) may do so
wait_for_leftovers() {
  local i
  for ((i = 0; i < 30; i++)); do
    [ -n "$(run_processes "$1")" ] || return 0
    sleep 1
  done
}

# end_leftovers ID DIR: true when there was nothing to end
end_leftovers() {
  local clean=0 pid mount
  for pid in $(run_processes "$1"); do
    clean=1
    echo "tests: left running: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-160)"
    kill -9 "$pid" 2>/dev/null || true
  done
  while read -r mount; do
    [ -n "$mount" ] || continue
    clean=1
    echo "tests: left mounted: $mount"
    umount -l "$(printf '%b' "$mount")" 2>/dev/null || fusermount -uz "$(printf '%b' "$mount")" || true
  done <<<"$(run_mounts "$2")"
  return "$clean"
}
