#!/usr/bin/env bash
# Sees that the images of the compose files are there: pulled, or, where no registry can be reached, stand-ins made here.
#
#   containers/images.sh FILE postgres redis python localstack
#
# writes a line NAME_IMAGE=... for each to FILE, in the form of an .env file, and says on stdout which are stand-ins.
# An image that the environment names by that variable already is taken as it is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
file=${1:?a file to write to} && shift
docker version >/dev/null 2>&1 || { echo 'The Docker engine does not answer.' >&2; exit 1; }

lines=
for name; do
  variable=${name^^}_IMAGE
  # the default that the compose files give it
  image=$(sed -nE "s/.*\\$\{$variable:-([^}]*)\}.*/\1/p" "$here"/../docker-compose*.yml | sed -n 1p)
  [[ $image ]] || { echo "No compose file takes $variable." >&2; exit 1; }
  if [[ ${!variable:-} ]]; then
    image=${!variable}
    echo "$name: $image, as $variable says"
  elif docker image inspect "$image" >/dev/null 2>&1; then
    echo "$name: $image"
  elif why=$(docker pull --quiet "$image" 2>&1); then
    echo "$name: $image, pulled"
  else
    official=$image
    image=$("$here/standin.sh" "$name")
    echo "$name: $official cannot be pulled (${why##*: }); a stand-in from the distribution's packages takes its place: $image"
  fi
  lines+="$variable=$image"$'\n'
done
mkdir -p "$(dirname "$file")"
printf %s "$lines" >"$file"
