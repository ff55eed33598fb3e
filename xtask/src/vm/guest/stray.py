#!/usr/bin/python3
"""Writes to the disk without asking anybody, behind the end of its file system, and tells the console how each write ended."""
import errno
import mmap
import os
import sys
import time

disk, place, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
line = os.open("/dev/ttyS0", os.O_WRONLY | os.O_NOCTTY)
block = mmap.mmap(-1, 4096)
out = os.open(disk, os.O_WRONLY | os.O_DIRECT)
number = refused = 0
# Once cut off it has said so often enough: a node that registers anew, when it holds nothing any more, may write again.
while refused < 10:
    number += 1
    block[:32] = b"%32d" % number
    try:
        os.pwrite(out, block, place)
        ended = "written"
    except OSError as error:
        ended = errno.errorcode.get(error.errno, str(error.errno))
        # One that was on its way when the owner was cut off may end otherwise: the array gives it up.
        refused += error.errno == errno.EBADE
    os.write(line, b"\nstray %d %s\n" % (number, ended.encode()))
    time.sleep(pause if refused == 0 else pause / 10)
