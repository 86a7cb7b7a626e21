# Where packages come from (read by build.sh): the machine's own apt sources, so that a mirror or proxy that it
# is set up for is used.

# repository CODENAME: the address apt has for it, without the slash at its end
repository() {
  apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
    awk -v c="$1" '$1 == c && $2 == "main" {sub("/$", "", $3); print $3; exit}'
}

# default_mirror: where debootstrap would take Debian from, on a machine whose own sources are of another release
default_mirror() {
  { sed -n 's/^ *default_mirror *//p' "/usr/share/debootstrap/scripts/$SUITE"
    sed -n 's/^DEF_MIRROR="\(.*\/debian\)"$/\1/p' "$(command -v debootstrap)"; } 2>/dev/null | head -n 1
}

# MIRROR and SECURITY may be given in the environment.
find_mirrors() {
  : "${MIRROR:=$(repository "$SUITE")}"
  : "${MIRROR:=$(default_mirror)}"
  : "${SECURITY:=$(repository "$SUITE-security")}"
  : "${SECURITY:=${MIRROR%/}-security}"
  if [ -z "$MIRROR" ]; then
    say "apt knows no mirror of Debian $SUITE: name one, MIRROR=http://HOST/debian make demo"
    exit 1
  fi
  mkdir -p "$WORK/sources"
  local signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  echo "deb $signed $MIRROR $SUITE main" >"$WORK/sources/old.list"
  {
    echo "deb $signed $MIRROR $SUITE main"
    echo "deb $signed $SECURITY $SUITE-security main"
    echo "deb $signed $MIRROR $SUITE-updates main"
  } >"$WORK/sources/new.list"
  # apt's proxy, where the machine has one, and what keeps apt's own caches out of the image
  {
    apt-config dump 2>/dev/null | grep -iE '^Acquire::[a-z]+::Proxy' || true
    cat <<'CONF'
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dpkg::Use-Pty "0";
CONF
  } >"$WORK/sources/apt.conf"
}
