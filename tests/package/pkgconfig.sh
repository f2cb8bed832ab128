#!/usr/bin/env bash
# Builds and runs the consumer with what pkg-config says, for each installed package.
# usage: pkgconfig.sh <compiler> <prefix> <library directory> <consumer.cpp> <version> <scratch directory>
set -euo pipefail

compiler=$1 prefix=$2 libdir=$3 source=$4 version=$5 scratch=$6
export PKG_CONFIG_PATH="$prefix/$libdir/pkgconfig"

mkdir -p "$scratch"
for target in muster json websocketpp jwt; do
  package=muster
  [ "$target" = muster ] || package=muster-$target
  # Not every installation has it.
  [ "$target" != jwt ] || [ -e "$PKG_CONFIG_PATH/$package.pc" ] || continue
  # Left unquoted on purpose: these are lists of flags.
  # shellcheck disable=SC2046
  "$compiler" -std=c++17 "-DUSES_$target" $(pkg-config --cflags "$package") "$source" \
    $(pkg-config --libs "$package") -Wl,-rpath,"$prefix/$libdir" -o "$scratch/consumer-$target"
  "$scratch/consumer-$target" "$version"
done
