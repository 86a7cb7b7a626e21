# node_modules (read by setup.sh). No package's install script is run: what has native parts ships them built.

# The machine's Node does for this; Node 26 is among what is installed.
setup_npm() {
  if ! command -v npm >/dev/null; then
    say "npm is missing, and with it everything: install Node.js 18 or later"
    return 1
  fi
  if node scripts/setup/modules-current.mjs; then return 0; fi
  say "installing npm packages as package-lock.json has them (Node 26 among them; about 450 MB)"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  bin/node --version >/dev/null || { say "Node 26 does not run on this machine"; return 1; }
}
