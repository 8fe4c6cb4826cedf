#!/usr/bin/env bash
# What the official image's entry point does, as far as our compose files ask it: a first start makes the cluster, the
# user and the database that POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB name; the server runs as `postgres`.
# There are no _FILE variables and no initialisation scripts.
set -euo pipefail
[[ ${1:-} == -* ]] && set -- postgres "$@"
[[ ${1:-} == postgres ]] || exec "$@"

if ((EUID == 0)); then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA" /var/run/postgresql
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

if [[ ! -s $PGDATA/PG_VERSION ]]; then
  user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  initdb --pgdata "$PGDATA" --username "$user" --encoding UTF8 --locale C.UTF-8 --auth-local trust --auth-host scram-sha-256 \
    --pwfile <(echo "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD is needed for a new cluster}")
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --pgdata "$PGDATA" --options "-c listen_addresses=''" --wait --silent start
  if [[ $database != postgres ]]; then
    psql --no-psqlrc --quiet --username "$user" --dbname postgres --set ON_ERROR_STOP=1 --set name="$database" <<<'CREATE DATABASE :"name"'
  fi
  pg_ctl --pgdata "$PGDATA" --mode fast --wait --silent stop
fi
exec "$@"
