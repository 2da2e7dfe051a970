#!/bin/sh
# A secret arrives as a file in /run/secrets that is named as the variable it is for.
set -eu
for file in /run/secrets/*; do
  [ -f "$file" ] || continue
  value="$(cat "$file")"
  export "$(basename "$file")=$value"
done
exec "$@"
