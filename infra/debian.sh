#!/usr/bin/env bash
# Install the Debian packages named, if the machine lacks what they bring. Nothing happens, in
# milliseconds, when everything is there; on another system the missing parts are named instead.
set -euo pipefail

present() {
  case "$1" in
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
    postgresql-postgis) compgen -G '/usr/share/postgresql/*/extension/postgis.control' >/dev/null ||
      { command -v pg_config >/dev/null && [ -e "$(pg_config --sharedir)/extension/postgis.control" ]; } ;;
    python3-venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
for package in "$@"; do present "$package" || missing+=("$package"); done
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null && root=(sudo)
fi
if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && [ ${#root[@]} -eq 0 ]; }; then
  echo "Scarp needs: ${missing[*]} (Debian package names)." >&2
  echo "As root on Debian or Ubuntu: apt-get install ${missing[*]}" >&2
  echo "Elsewhere: PostgreSQL 13 or newer with PostGIS 3, Python 3.11 or newer with venv." >&2
  exit 1
fi
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
said="$("${root[@]}" apt-get update -qq 2>&1 &&
  "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" 2>&1)" || {
  printf '%s\n' "$said" "Scarp could not install: ${missing[*]}" >&2
  exit 1
}
