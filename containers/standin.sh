#!/usr/bin/env bash
# Builds one stand-in image from the distribution's packages: postgres, redis, python or localstack. Prints its name, and
# what it does to stderr. At once when the image is there and was made from the files that are here now.
#
#   PYTHON_TREE  for python and localstack: a Python 3.12 with a prefix of its own; that of python3.12 on PATH by default
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
name=${1:?postgres, redis, python or localstack}
folder=$here/standins/$name
image=task-scheduler-standin/$name
LABEL=task-scheduler.made-from
fail() { echo "$*" >&2; exit 1; }
[[ -d $folder ]] || fail "There is no stand-in for $name."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$folder/." "$work/"
chmod 755 "$work"/*.sh 2>/dev/null || true

# What differs between them: the image below, and what the build needs beside its Dockerfile.
case $name in
  localstack)
    [[ -f $root/requirements/localstack.txt ]] || fail 'requirements/localstack.txt is missing.'
    cp "$root/requirements/bootstrap.txt" "$root/requirements/localstack.txt" "$work/"
    below=$("$here/standin.sh" python)
    ;;
  *) below=$("$here/debian.sh") ;;
esac
tree=
if [[ $name == python ]]; then
  tree=${PYTHON_TREE:-$(python3.12 -c 'import sys; print(sys.base_prefix)' 2>/dev/null || true)}
  [[ -x $tree/bin/python3.12 ]] || fail 'Python 3.12 is not on PATH as python3.12; PYTHON_TREE may name its prefix.'
  [[ $tree != /usr ]] || fail 'The Python of the system cannot be copied; PYTHON_TREE may name one with a prefix of its own.'
fi

made_from=$({
  docker image inspect --format '{{.Id}}' "$below"
  cat "${BASH_SOURCE[0]}"
  cd "$work" && find . -type f | sort | xargs sha256sum
  if [[ $tree ]]; then "$tree/bin/python3.12" -VV; fi
} | sha256sum | cut -c1-32)
if [[ $(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$image" 2>/dev/null) == "$made_from" ]]; then
  echo "$image"
  exit
fi

echo "Making $image ..." >&2
if [[ $tree ]]; then
  mkdir "$work/python"
  cp -a "$tree"/{bin,lib,include} "$work/python/"
  rm -rf "$work"/python/bin/{pip,idle,2to3,pydoc}* "$work"/python/lib/python3.12/{test,idlelib,turtledemo,config-*} \
    "$work"/python/lib/python3.12/site-packages/* "$work"/python/lib/*.a
fi
# The host's network: what apt and pip reach here, they reach there.
docker build --quiet --network host --label "$LABEL=$made_from" --build-arg DEBIAN="$below" --build-arg PYTHON="$below" \
  ${UV_DEFAULT_INDEX:+--build-arg UV_DEFAULT_INDEX} --tag "$image" "$work" >"$work/log" 2>&1 || {
  tail -n 40 "$work/log" >&2
  fail "$image was not made."
}
echo "$image"
