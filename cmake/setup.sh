# Sourced by ./demo and ./check: installs what is missing, builds the dependencies once a machine, configures.
# Sets: top, the repository; deps, where dependencies are kept (LATHE_DEPS, or lathe in the user's cache folder).
# shellcheck shell=bash disable=SC2034
top=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
deps=${LATHE_DEPS:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/lathe}

build_packages=(g++ cmake ninja-build ccache pkg-config python3 debian-archive-keyring libfmt-dev libcli11-dev
  nlohmann-json3-dev doctest-dev libexpected-dev libvulkan1 mesa-vulkan-drivers)

heading() { printf '\n== %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# install_packages NAME...: those that are missing, from the system's own package sources.
install_packages() {
  local package missing=() as_root=()
  if ! command -v apt-get >/dev/null; then
    die "set-up needs Debian's apt-get; on another system install the equivalents of: $*"
  fi
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "missing packages, and neither root nor sudo to install them: ${missing[*]}"
    as_root=(sudo)
  fi
  heading "installing ${missing[*]}"
  "${as_root[@]}" apt-get -q update || die "apt-get update failed: is there a network?"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install ${missing[*]}"
}

# with_progress LOG COMMAND...: runs the command; now and then says how long it has run and the last line of its log.
with_progress() {
  local log=$1 start=$SECONDS beat status=0
  shift
  while sleep 20 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    printf '   %4d s  %s\n' $((SECONDS - start)) "$(tail -n 1 "$log" 2>/dev/null | cut -c1-90)"
  done &
  beat=$!
  "$@" || status=$?
  kill "$beat" 2>/dev/null || true
  wait "$beat" 2>/dev/null || true
  return "$status"
}

# build_dependencies: SPIRV-Tools, volk and Vulkan headers where the system's are too old. About 7 minutes on 2 cores, once.
build_dependencies() {
  heading "dependencies in $deps"
  mkdir -p "$deps" || die "cannot write $deps: set LATHE_DEPS to a folder that can be written"
  with_progress "$deps/khronos.work/log" "$top/cmake/khronos-deps.sh" "$deps/khronos" || die "dependencies could not be built"
}

# build PRESET TARGET...: configures, then builds with ninja.
build() {
  local preset=$1 log
  shift
  log=$(mktemp)
  heading "building $* ($preset)"
  LATHE_CCACHE=$(command -v ccache || true)
  # Another clone on this machine finds what this one compiled.
  export LATHE_CCACHE CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1
  # The log is shown only when something is wrong: cmake says the same hundred lines each time.
  if ! (cd "$top" && cmake --preset "$preset" -DCMAKE_PREFIX_PATH="$deps/khronos") >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
  ninja -C "$top/build/$preset" "$@"
}
