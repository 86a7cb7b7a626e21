# As root (read by build.sh): each step runs in a chroot on an overlay of the layers below, in a mount namespace
# of its own, so that no mount outlives it; what it wrote is its layer.

# step NAME CREATED_BY COMMANDS: adds one layer to LAYERS
step() {
  local name=$1 created_by=$2 commands=$3 lower='' i
  local dir=$WORK/$V/$name
  if [ ! -e "$dir/layer.json" ]; then
    say "$V: $created_by"
    rm -rf "$dir"
    mkdir -p "$dir"/{diff,work,root}
    for ((i = ${#LAYERS[@]} - 1; i >= 0; i--)); do lower+=${lower:+:}${LAYERS[i]}/diff; done
    in_chroot "$dir" "$lower" "$commands"
    pack "$dir/diff" "$dir" "${EPOCH[$V]}" "$created_by"
    rm -rf "$dir/work" "$dir/root"
  fi
  LAYERS+=("$dir")
}

# in_chroot DIR LOWER COMMANDS: without LOWER, on DIR/diff itself
in_chroot() {
  DIR=$1 LOWER=$2 COMMANDS=$3 WORK=$WORK V=$V SOURCE_DATE_EPOCH=${EPOCH[$V]} \
    unshare --mount --propagation private bash "$here/in-chroot.inc" >"$1/log" 2>&1 </dev/null 9>&- || {
    tail -20 "$1/log" >&2
    say "failed, see $1/log"
    return 1
  }
}

# The base: debootstrap's minbase, made once for both versions; the new one has its updates inside, as the
# official images are made. Documentation goes, as in their -slim variants.
base() {
  local dir=$WORK/$V/base
  if [ ! -e "$WORK/minbase.tar" ]; then
    say "debootstrap $SUITE from $MIRROR"
    rm -rf "$WORK/minbase"
    debootstrap --variant=minbase "$SUITE" "$WORK/minbase" "$MIRROR" >"$WORK/debootstrap.log" 2>&1 9>&- || {
      tail -20 "$WORK/debootstrap.log" >&2
      return 1
    }
    tar -C "$WORK/minbase" --numeric-owner -cf "$WORK/minbase.tar.tmp" .
    mv "$WORK/minbase.tar.tmp" "$WORK/minbase.tar"
    rm -rf "$WORK/minbase"
  fi
  if [ ! -e "$dir/layer.json" ]; then
    say "$V: base"
    rm -rf "$dir"
    mkdir -p "$dir/diff"
    tar -C "$dir/diff" --numeric-owner -xpf "$WORK/minbase.tar"
    rm -rf "$dir"/diff/dev/* "$dir"/diff/var/cache/apt/archives/*.deb "$dir"/diff/var/lib/apt/lists/*
    : >"$dir/diff/etc/machine-id"
    : >"$dir/diff/etc/hostname"
    : >"$dir/diff/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' >"$dir/diff/usr/sbin/policy-rc.d"
    chmod 755 "$dir/diff/usr/sbin/policy-rc.d"
    cp "$WORK/sources/$V.list" "$dir/diff/etc/apt/sources.list"
    printf 'path-exclude /usr/share/%s/*\n' groff info locale man doc >"$dir/diff/etc/dpkg/dpkg.cfg.d/slim"
    echo 'path-include /usr/share/doc/*/copyright' >>"$dir/diff/etc/dpkg/dpkg.cfg.d/slim"
    local upgrade=:
    [ "$V" = old ] || upgrade='apt-get update && apt-get -y dist-upgrade'
    in_chroot "$dir" '' "$upgrade
      find /usr/share/doc -depth -type f ! -name copyright -delete
      find /usr/share/doc -depth \( -type l -o -type d -empty \) -delete
      rm -rf /usr/share/groff/* /usr/share/info/* /usr/share/locale/* /usr/share/man/*"
    pack "$dir/diff" "$dir" "${EPOCH[$V]}" "ADD rootfs.tar.xz / # debian $SUITE, minbase"
  fi
  LAYERS=("$dir")
}

build_version() {
  base
  step user 'RUN groupadd -r -g 999 redis && useradd -r -g redis -u 999 redis' '
    groupadd -r -g 999 redis
    useradd -r -g redis -u 999 redis'
  step packages "RUN apt-get install --no-install-recommends $PACKAGES" "
    apt-get update
    apt-get -y install --no-install-recommends $PACKAGES
    rm -rf /var/lib/redis
    redis-server --version"
  step data 'RUN mkdir /data && chown redis:redis /data' '
    mkdir /data
    chown redis:redis /data'
  awk '$1 == "Package:" {p = $2} $1 == "Version:" && p == "redis-server" {print $2}' \
    "$WORK/$V/packages/diff/var/lib/dpkg/status" >"$WORK/$V/version"
  printf '%s\n' "${LAYERS[@]}" >"$WORK/$V/layers"
}
