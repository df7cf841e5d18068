#!/usr/bin/env python3
"""A bad network path between this network namespace and that of another process, where the kernel has no netem. For `bad-paths.ts`.

Makes two tun devices, 10.98.0.1 here and 10.98.0.2 there, and carries packets between them in user space with delay, loss, a rate and a largest UDP
packet. Needs root, python3, iproute2 and util-linux, and refuses to work where there are other devices. Prints "up" when ready; SIGTERM ends
it, with which the devices go, and it prints what was dropped.

Delay is one way in ms, loss a share of packets towards the other process, rate in Mbit/s each way with a queue of 200 ms, --max-udp the largest IPv4 packet
with UDP inside that passes: a path that drops silently.
"""
import json
import argparse, fcntl, heapq, os, random, select, signal, socket, struct, subprocess, sys, time

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument('--pid', type=int, required=True, help='a process in the other namespace')
p.add_argument('--delay', type=float, default=0)
p.add_argument('--loss', type=float, default=0)
p.add_argument('--rate', type=float, required=True)
p.add_argument('--max-udp', type=int, default=65535)
p.add_argument('--seed', type=int)
o = p.parse_args()
chance = random.Random(o.seed)


if [name for _, name in socket.if_nameindex()] != ['lo'] or os.readlink('/proc/self/ns/net') == os.readlink(f'/proc/{o.pid}/ns/net'):
    sys.exit('both ends have to be in network namespaces of their own, with nothing else in them')


def ip(*args, inside=()):
    subprocess.run([*inside, 'ip', *args], check=True)


def tun(name):
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH', name.encode(), 0x0001 | 0x1000))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return fd


here, there = tun('bp-here'), tun('bp-there')
ip('link', 'set', 'bp-there', 'netns', str(o.pid))
for device, address, inside in (('bp-here', '10.98.0.1/24', ()), ('bp-there', '10.98.0.2/24', ('nsenter', f'--net=/proc/{o.pid}/ns/net'))):
    ip('address', 'add', address, 'dev', device, inside=inside)
    ip('link', 'set', device, 'mtu', '1500', 'up', 'txqueuelen', '5000', inside=inside)
dropped = {'loss': 0, 'too big': 0, 'queue': 0}


def end(*_):
    print(json.dumps({'dropped': dropped}), flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
print(json.dumps({'event': 'up'}), flush=True)
loss = {here: o.loss, there: 0}
other = {here: there, there: here}
free_at = {here: 0.0, there: 0.0}
queue, count, bytes_a_second = [], 0, o.rate * 1e6 / 8
while True:
    now = time.monotonic()
    while queue and queue[0][0] <= now:
        _, _, fd, packet = heapq.heappop(queue)
        try:
            os.write(fd, packet)
        except OSError:
            pass
    ready, _, _ = select.select([here, there], [], [], max(0, queue[0][0] - now) if queue else 0.5)
    for fd in ready:
        for _ in range(64):
            try:
                packet = os.read(fd, 65536)
            except BlockingIOError:
                break
            now = time.monotonic()
            if packet[0] >> 4 == 4 and packet[9] == 17 and len(packet) > o.max_udp:
                dropped['too big'] += 1
                continue
            if chance.random() < loss[fd]:
                dropped['loss'] += 1
                continue
            start = max(free_at[fd], now)
            if start - now > 0.2:
                dropped['queue'] += 1
                continue
            free_at[fd] = start + len(packet) / bytes_a_second
            count += 1
            heapq.heappush(queue, (free_at[fd] + o.delay / 1000, count, other[fd], packet))
