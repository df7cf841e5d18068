#!/bin/sh
# Makes clip.webm: 10 s, 640x360, 30 fps, VP9 + Opus, from ffmpeg's own generators (nothing downloaded, nothing recorded).
# Usage: sh demo/media/make-clip.sh [output]
set -eu

out=${1:-"$(dirname "$0")/clip.webm"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A zoom into the Mandelbrot set, a life automaton glowing over it, and a test card with a frame counter in the corner.
graph="
mandelbrot=size=640x360:rate=30:start_scale=2.2:end_scale=0.002:end_pts=300:start_x=-0.743643887:start_y=-0.131825904:maxiter=600[zoom];
life=size=160x90:rate=15:mold=12:ratio=0.16:seed=7:death_color=#10243c:life_color=#ffd166,scale=640x360:flags=neighbor,fps=30,format=gbrp[life];
[zoom]format=gbrp[back];
[back][life]blend=all_mode=screen:all_opacity=0.35,format=yuv420p[mix];
testsrc2=size=192x108:rate=30,format=yuv420p,pad=196:112:2:2:white[card];
[mix][card]overlay=x=W-w-16:y=16,trim=duration=10,setpts=PTS-STARTPTS,format=yuv420p[video];
aevalsrc=exprs='0.22*sin(2*PI*(220+20*sin(2*PI*0.25*t))*t)*(0.6+0.4*sin(2*PI*2*t))+0.10*sin(2*PI*330*t)*exp(-4*mod(t\,0.5))|0.22*sin(2*PI*(220+20*sin(2*PI*0.25*t))*t)*(0.6-0.4*sin(2*PI*2*t))+0.10*sin(2*PI*440*t)*exp(-4*mod(t\,0.5))':s=48000:d=10,afade=t=in:d=0.2,afade=t=out:st=9.6:d=0.4,asetnsamples=n=960:p=0[audio]"

encode () {
  ffmpeg -hide_banner -loglevel error -nostdin -y -filter_complex "$graph" -map '[video]' -map '[audio]' \
    -c:v libvpx-vp9 -b:v 1050k -minrate 500k -maxrate 1500k -g 30 -keyint_min 30 -auto-alt-ref 1 -lag-in-frames 16 \
    -deadline good -cpu-used 3 -row-mt 0 -threads 1 -tile-columns 0 -pass "$1" -passlogfile "$work/pass" \
    -c:a libopus -b:a 96k -ac 2 -t 10 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
    -cluster_time_limit 1000 -cues_to_front 1 -f webm "$2"
}

# Two passes: the size lands near the target however hard a scene is.
encode 1 "$work/first.webm"
encode 2 "$work/second.webm"
mv "$work/second.webm" "$out"
chmod 644 "$out"
sha256sum "$out"
