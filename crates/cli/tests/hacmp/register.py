# Registers a program with rpcbind over its local socket: RPCBPROC_SET of version 4, the call that rpcb_set makes.
import socket, struct, sys, os

program, address, port = sys.stdin.read().split()
def text(s):
    b = s.encode()
    return struct.pack(">I", len(b)) + b + b"\0" * (-len(b) % 4)
universal = "%s.%d.%d" % (address, int(port) >> 8, int(port) & 255)
body = struct.pack(">IIIIII", 7, 0, 2, 100000, 4, 1) + struct.pack(">IIII", 0, 0, 0, 0)
body += struct.pack(">II", int(program), 1) + text("tcp") + text(universal) + text("superuser")
s = socket.socket(socket.AF_UNIX)
s.connect("/run/rpcbind.sock")
s.sendall(struct.pack(">I", 0x80000000 | len(body)) + body)
answer = s.recv(4096)
assert struct.unpack(">I", answer[-4:])[0] == 1, "rpcbind refused: %r" % answer
