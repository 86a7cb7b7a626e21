# Without root (read by build.sh): apt resolves and downloads with state of its own, and the packages are only
# unpacked, one layer for the base and one for redis. The image does not run; its bytes are the real ones.

apt_() { # with this version's sources and nothing of the machine's state
  local state=$WORK/$V/apt
  mkdir -p "$state/lists/partial" "$WORK/archives/partial"
  : >>"$state/status"
  # APT_CONFIG is read first: with it the machine's hooks, which need root, are left out
  { cat "$WORK/sources/apt.conf"; echo 'Dir::Etc::Parts "/dev/null"; Dir::Etc::Main "/dev/null";'; } >"$state/apt.conf"
  APT_CONFIG=$state/apt.conf apt-get -qq -o Dir::State="$state" -o Dir::State::status="$state/status" \
    -o Dir::State::lists="$state/lists" -o Dir::Cache::archives="$WORK/archives" -o Debug::NoLocking=true \
    -o Dir::Etc::sourcelist="$WORK/sources/$V.list" -o Dir::Etc::sourceparts=/dev/null "$@" </dev/null 9>&-
}

# archives PACKAGE...: the files of these and of all that they need, downloaded
archives() {
  apt_ --download-only -y install "$@" >"$WORK/$V/apt.log" 2>&1 || { tail -5 "$WORK/$V/apt.log" >&2; return 1; }
  mkdir -p "$WORK/$V/apt/none/partial" # an empty cache: nothing is there yet, so all is listed
  apt_ --print-uris -y -o Dir::Cache::archives="$WORK/$V/apt/none" install "$@" | awk '{print $2}' | LC_ALL=C sort
}

# unpacked NAME CREATED_BY FILE...: adds one layer to LAYERS
unpacked() {
  local name=$1 created_by=$2 dir=$WORK/$V/$1 link
  shift 2
  if [ ! -e "$dir/layer.json" ]; then
    say "$V: $created_by"
    rm -rf "$dir"
    mkdir -p "$dir/diff"
    # Debian's /bin, /lib and /sbin are links into /usr; packages are unpacked through them
    for link in bin lib lib64 sbin; do
      mkdir -p "$dir/diff/usr/$link"
      ln -s "usr/$link" "$dir/diff/$link"
    done
    for archive; do
      dpkg-deb --fsys-tarfile "$WORK/archives/$archive" |
        tar -C "$dir/diff" -xf - --keep-directory-symlink --no-same-owner --exclude='./dev/*' \
          --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
    done
    if [ "$name" != base ]; then rm -f "$dir"/diff/{bin,lib,lib64,sbin}; fi
    pack "$dir/diff" "$dir" "${EPOCH[$V]}" "$created_by" --owner=0 --group=0
  fi
  LAYERS+=("$dir")
}

build_version() {
  LAYERS=()
  mkdir -p "$WORK/$V"
  if [ ! -e "$WORK/$V/apt/updated" ]; then
    say "$V: package lists"
    apt_ update
    : >"$WORK/$V/apt/updated"
  fi
  local base=() all=() added=()
  # shellcheck disable=SC2086
  mapfile -t base < <(archives '?essential' '?priority(required)' apt)
  # shellcheck disable=SC2086
  mapfile -t all < <(archives '?essential' '?priority(required)' apt $PACKAGES)
  mapfile -t added < <(LC_ALL=C comm -13 <(printf '%s\n' "${base[@]}") <(printf '%s\n' "${all[@]}"))
  unpacked base "ADD rootfs.tar.xz / # debian $SUITE, unpacked only" "${base[@]}"
  unpacked packages "RUN apt-get install --no-install-recommends $PACKAGES # unpacked only" "${added[@]}"
  for archive in "${added[@]}"; do
    case $archive in redis-server_*) dpkg-deb -f "$WORK/archives/$archive" Version >"$WORK/$V/version" ;; esac
  done
  printf '%s\n' "${LAYERS[@]}" >"$WORK/$V/layers"
}
