# Debian's packages (read by setup.sh). packages.tsv: package, how to see that it is there, why it is needed.
# What counts is the command or file, not the package: Docker's containerd is as good as Debian's.

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# written by Starlight'\''s scripts/setup.sh for the time of an installation'
LOCK=/run/lock/starlight-setup.lock
# services that come with the packages; what we install is left stopped and not started at boot
UNITS='containerd docker-registry redis-server postgresql'

is_there() { # command:NAME, static:NAME (a command that needs no libraries) or file:PATTERN
  case $1 in
    command:*) command -v "${1#command:}" >/dev/null || [ -x "/usr/sbin/${1#command:}" ] ;;
    static:*) command -v "${1#static:}" >/dev/null && ! ldd "$(command -v "${1#static:}")" >/dev/null 2>&1 ;;
    file:*) compgen -G "${1#file:}" >/dev/null ;;
  esac
}

# Puts back the machine's own policy, if it had one.
restore_policy() {
  if [ -e "$POLICY" ] && grep -qxF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
  if [ -e "$POLICY.starlight-saved" ]; then mv -f "$POLICY.starlight-saved" "$POLICY"; fi
}

# Debian's packages start their services at once, unless this file forbids it (invoke-rc.d(8)).
forbid_starting() {
  trap 'trap "" INT TERM HUP; restore_policy' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if [ -e "$POLICY" ]; then mv "$POLICY" "$POLICY.starlight-saved"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
  chmod 755 "$POLICY"
}

has_unit() { compgen -G "/lib/systemd/system/$1.service" >/dev/null || compgen -G "/etc/init.d/$1" >/dev/null; }

install_packages() { # packages...
  local unit before=()
  for unit in $UNITS; do if has_unit "$unit"; then before+=("$unit"); fi; done
  exec 9>"$LOCK"
  flock 9
  restore_policy
  forbid_starting
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" </dev/null 9>&- >&2
  restore_policy
  trap - EXIT INT TERM HUP
  exec 9>&-
  for unit in $UNITS; do
    case " ${before[*]} " in *" $unit "*) continue ;; esac
    if has_unit "$unit" && command -v systemctl >/dev/null; then
      systemctl --quiet disable "$unit" >/dev/null 2>&1 || say "could not keep $unit from starting at boot"
    fi
  done
}

# A run that was killed has left its policy; one that still goes on holds the lock, and keeps it.
undo_killed_run() {
  if [ "$(id -u)" != 0 ] || ! grep -qsxF "$POLICY_MARK" "$POLICY"; then return 0; fi
  exec 9>"$LOCK"
  if flock --nonblock 9; then restore_policy; fi
  exec 9>&-
}

setup_debian() {
  local package probe why missing=()
  undo_killed_run
  while IFS=$'\t' read -r package probe why; do
    is_there "$probe" && continue
    missing+=("$package")
    say "missing: $package ($why)"
  done <scripts/setup/packages.tsv
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "this is not Debian: install the above by other means; tests that need it are skipped without it"
  elif [ "$(id -u)" != 0 ]; then
    say "not root: tests that need the above are skipped, and the demo compares bytes only"
    say "as root: apt-get install --no-install-recommends ${missing[*]}"
  else
    say "installing by apt, starting no service: ${missing[*]}"
    install_packages "${missing[@]}"
  fi
}
