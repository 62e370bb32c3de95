#!/bin/sh
# Makes pictures and videos to work on, in the present folder. With `broken`, three of them are cut off in the middle.
set -eu

mkdir -p originals
for n in 1 2 3 4 5; do
    convert -size 1024x768 -seed "$n" plasma:tomato-steelblue "originals/picture-$n.jpg"
done
for n in 1 2; do
    ffmpeg -v error -nostdin -f lavfi -i testsrc2=size=640x360:rate=25:duration=8 -f lavfi -i sine=duration=8 \
        -c:v mpeg4 -q:v 5 -c:a aac -y "originals/video-$n.mp4"
done

if [ "${1-}" = broken ]; then
    for file in picture-2.jpg picture-4.jpg video-2.mp4; do
        head -c 50000 "originals/$file" >cut-off
        mv cut-off "originals/$file"
    done
fi

# A line for each request: the names as JSON.
for file in originals/*.jpg; do echo "\"$file\""; done >pictures.ndjson
for file in originals/*.mp4; do echo "\"$file\""; done >videos.ndjson
ls originals
