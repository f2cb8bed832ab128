#!/usr/bin/env bash
# Runs the README's installation, as it stands there, on a copy of the sources, into a directory instead of the system.
# usage: readme_install.sh <sources> <commands> <scratch directory> <where / is>
set -euo pipefail

sources=$1 commands=$2 scratch=$3 root=$4
rm -rf "$scratch" "$root"
mkdir -p "$scratch"
cp -r "$sources"/{CMakeLists.txt,cmake,include,src,examples,README.md,CHANGELOG.md,LICENSE} "$scratch"
cd "$scratch"
export DESTDIR=$root CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=1
bash -euo pipefail "$commands"
# The documents, where their links lead.
for document in README.md examples/README.md include/muster/protocols/json_protocol.md include/muster/core/README.md; do
  [ -f "$root/usr/local/share/doc/muster/$document" ] || { echo "$document was not installed" >&2; exit 1; }
done
