#!/bin/sh
# The work of the type `thumbnail`: makes a small picture of a picture. The data of the request is the name of its file.
set -u

file=$(sed 's/^"\(.*\)"$/\1/')
. "$(dirname "$0")/files.sh"
check_name "$file"
begin thumbnails "$file" png

# Of a picture that moves, the first frame.
convert -regard-warnings "${file}[0]" null: || fail_by $?

# What fails from here on may pass: it is retried.
convert "${file}[0]" -auto-orient -thumbnail 200x200 "png:$part" && finish || exit
printf '{"thumbnail": "%s", "bytes": %d}\n' "$out" "$(wc -c <"$out")"
