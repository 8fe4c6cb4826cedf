#!/bin/sh
# The official image turns protected mode off, so that other containers reach the server; so does this one.
set -eu
case ${1:-} in -*) set -- redis-server "$@" ;; esac
[ "${1:-}" = redis-server ] && set -- "$@" --protected-mode no
exec "$@"
