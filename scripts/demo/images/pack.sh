# Packing a directory as a layer (read by build.sh).

# pack DIR OUT EPOCH CREATED_BY [TAR_OPTION...]: OUT/layer.tar.gz, OUT/layer.json
pack() {
  local dir=$1 out=$2 epoch=$3 created_by=$4
  shift 4
  mkdir -p "$out"
  # overlayfs's whiteouts become the image format's: .wh.NAME for what is gone, .wh..wh..opq in what hides
  find "$dir" -type c -print0 | while IFS= read -r -d '' gone; do
    [ "$(stat -c %t:%T "$gone")" = 0:0 ] || continue
    rm "$gone"
    : >"${gone%/*}/.wh.${gone##*/}"
  done
  # overlayfs also marks new directories that hide nothing; those need no entry
  { getfattr -R -P -h --absolute-names -m '^trusted\.overlay\.opaque$' "$dir" 2>/dev/null || true; } |
    sed -n 's/^# file: //p' | while IFS= read -r hides; do
    for below in ${LAYERS[@]+"${LAYERS[@]}"}; do
      if [ -d "$below/diff${hides#"$dir"}" ]; then : >"$hides/.wh..wh..opq"; fi
    done
  done
  mkfifo "$out/digest.fifo"
  sha256sum <"$out/digest.fifo" >"$out/diff.sum" &
  (cd "$dir" && find . -mindepth 1 -printf '%P\0' | LC_ALL=C sort -z |
    tar -c --null --no-recursion --verbatim-files-from -T - --numeric-owner --format=pax \
      --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' \
      --mtime="@$epoch" --clamp-mtime --xattrs --xattrs-include=security.capability "$@" -f -) |
    tee "$out/digest.fifo" | gzip -n -6 >"$out/layer.tar.gz"
  wait $!
  rm "$out/digest.fifo"
  printf '{"createdBy":"%s","diffId":"sha256:%s"}\n' "$created_by" "$(cut -c1-64 "$out/diff.sum")" >"$out/layer.json"
  rm "$out/diff.sum"
}
