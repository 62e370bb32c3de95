#!/bin/sh
# The work of the type `transcode`: makes a WebM of a video, and reports its progress. The data of the request is the name
# of its file.
set -u

file=$(sed 's/^"\(.*\)"$/\1/')
. "$(dirname "$0")/files.sh"
check_name "$file"
begin videos "$file" webm

# Its length in microseconds: 6.040000 without the point.
total=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$file") || fail_by $?
total=$(echo "$total" | sed 's/\.//; s/^0*//')
case $total in
    '' | *[!0-9]*)
        echo "the video has no length" >&2
        exit 65 ;;
esac

# ffmpeg tells how far it is in lines like out_time_us=2520000. They become lines of JSON on descriptor 3.
progress() {
    while IFS='=' read -r key value; do
        case $key=$value in
            out_time_us=*[!0-9]*) ;;
            out_time_us=*)
                percent=$((value * 100 / total))
                [ "$percent" -lt 100 ] || percent=99
                printf '{"progress": 0.%02d, "message": "%d of %d s"}\n' \
                    "$percent" "$((value / 1000000))" "$((total / 1000000))" >&3 ;;
            ended=*) return "$value" ;;
        esac
    done
}

# What fails from here on may pass: it is retried.
{
    ffmpeg -v error -nostdin -i "$file" -c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -c:a libvorbis \
        -progress pipe:1 -stats_period 0.2 -f webm -y "$part"
    echo "ended=$?"
} | progress && finish || exit
printf '{"video": "%s", "bytes": %d}\n' "$out" "$(wc -c <"$out")"
