#!/usr/bin/env bash
# A Debian root file system as an image, where none can be pulled: what the stand-ins beside this file are built upon.
# Needs root and a running Docker engine; debootstrap is installed where it is missing. About 45 s; at once when the image
# is there.
# The mirror is the one that this machine's own apt uses. Prints the image's name, and what it does to stderr.
#
#   SUITE  Debian release, trixie by default
set -euo pipefail
SUITE=${SUITE:-trixie}
IMAGE=task-scheduler-standin/debian:$SUITE
# libraries that a Python built elsewhere is linked with
PACKAGES=ca-certificates,tzdata,libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8t64,libsqlite3-0,libssl3t64,libuuid1,zlib1g
LABEL=task-scheduler.made-from

made_from=$({ cat "${BASH_SOURCE[0]}"; echo "$SUITE"; } | sha256sum | cut -c1-32)
if [[ $(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$IMAGE" 2>/dev/null) == "$made_from" ]]; then
  echo "$IMAGE"
  exit
fi
fail() { echo "$*" >&2; exit 1; }
((EUID == 0)) || fail 'Making a root file system takes root.'
if ! command -v debootstrap >/dev/null; then
  command -v apt-get >/dev/null || fail 'debootstrap is missing.'
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install --yes \
    --no-install-recommends debootstrap; } >&2 || fail 'debootstrap could not be installed.'
fi

# The first of apt's sources that has this release: others may be a vendor's.
mirror=
for each in $({ cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
  sed -nE 's/^URIs: *([^ ]*).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]*) .*/\2/p' | sort -u); do
  if curl -fsSL --max-time 20 -o /dev/null "${each%/}/dists/$SUITE/Release" 2>/dev/null; then mirror=${each%/}; break; fi
done
[[ $mirror ]] || fail "None of apt's sources has the release $SUITE."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "Making $IMAGE with debootstrap, about 45 s ..." >&2
debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$work/root" "$mirror" >"$work/log" 2>&1 || {
  tail -n 20 "$work/log" >&2
  fail 'debootstrap failed.'
}
rm -rf "$work"/root/var/{lib/apt/lists,cache/apt,log}/* "$work"/root/{dev,proc,sys}/* \
  "$work"/root/usr/share/{doc,man,locale,info}/*
# Whoever this machine trusts, a build upon the image trusts: a proxy that opens TLS, for one.
cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
tar -C "$work/root" -c . | docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV LANG=C.UTF-8' --change "LABEL $LABEL=$made_from" --change 'CMD ["bash"]' - "$IMAGE" >/dev/null
echo "$IMAGE"
