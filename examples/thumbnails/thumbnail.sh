#!/bin/sh
# The work of the type `thumbnail`: makes a small picture of a picture. The data of the request is the name of its file.
set -u

file=$(sed 's/^"\(.*\)"$/\1/')
case $file in
    '' | /* | *..* | *\\*)
        echo "not the name of a file below this folder" >&2
        exit 65 ;;
esac

# What can't be read fails for good (65): the same file would fail again.
convert -regard-warnings "$file" null: || exit 65

# What fails from here on may pass, as a disk that is full: it is retried.
mkdir -p thumbnails || exit
out=thumbnails/$(basename "${file%.*}").png
convert "$file" -auto-orient -thumbnail 200x200 "png:$out.$$" && mv "$out.$$" "$out" || exit
printf '{"thumbnail": "%s", "bytes": %d}\n' "$out" "$(wc -c <"$out")"
