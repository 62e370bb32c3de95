# What both kinds of work do with files. It is read by the other scripts.

# Ends with 65 (the request fails for good) unless this is the name of a file below this folder. Both programs take other
# names for more than files: `http://...` for something to fetch, `-...` for an option.
check_name() {
    case $1 in
        '' | /* | -* | *:* | *..* | *\\*) bad_name ;;
    esac
    [ -f "$1" ] || bad_name
    # A link may lead elsewhere.
    target=$(realpath "$1") || exit 75
    case $target in
        "$(pwd -P)"/*) ;;
        *) bad_name ;;
    esac
}

bad_name() {
    echo "not the name of a file below this folder" >&2
    exit 65
}

# Prepares the result of a file, which is to be in this folder with this ending: `out` is its place, which keeps the folder
# and the ending of the file, so that no two files share it; `part` is where it is written first. Fails if that can't be
# written, so that a full disk is not taken for a broken file.
begin() {
    out=$1/$2.$3
    mkdir -p "$(dirname "$out")" && work=$(mktemp -d "$1/.work-XXXXXX") || exit 75
    trap 'rm -rf "$work"' EXIT
    trap 'exit 143' TERM
    part=$work/part
    # What the programs write for themselves.
    export TMPDIR="$work"
    echo "a block of the disk" >"$part" || exit 75
}

# Moves what was written to its place.
finish() {
    mv "$part" "$out"
}

# Ends after a program that reads the file has failed: for good (65), because the same file would fail again; unless the
# program is missing (126, 127) or was killed by a signal (128 and more), which may pass.
fail_by() {
    [ "$1" -ge 126 ] && exit "$1"
    exit 65
}
