#!/usr/bin/env python3
"""Runs a command under a seccomp profile, as a container runtime would: x86_64, without libseccomp.

    deploy/seccomp/try.py deploy/seccomp/ringress.json COMMAND...
"""
import ctypes
import json
import os
import struct
import sys

AUDIT_ARCH_X86_64 = 0xC000003E
LOAD, EQUAL, ANY_BIT_AND, RETURN = 0x20, 0x15, 0x54, 0x06
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


def numbers():
    """System calls by name, from the header of the C library's development files."""
    path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
    with open(path) as header:
        rows = [line.split() for line in header if line.startswith("#define __NR_")]
    return {row[1].removeprefix("__NR_"): int(row[2]) for row in rows}


def program(profile, known):
    """One block per name and rule: each either returns or falls through to the next."""
    code = [op(LOAD, 4), op(EQUAL, AUDIT_ARCH_X86_64, 1, 0), op(RETURN, KILL)]
    for rule in profile["syscalls"]:
        verdict = action(rule["action"], rule.get("errnoRet", 1))
        for name in rule["names"]:
            # Calls of other architectures, and of newer kernels than the header.
            if name in known:
                code += block(known[name], rule.get("args", []), verdict)
    code.append(op(RETURN, action(profile["defaultAction"], profile["defaultErrnoRet"])))
    return b"".join(code)


def block(number, arguments, verdict):
    tests = []
    for argument in arguments:
        low = 16 + 8 * argument["index"]
        if argument["op"] == "SCMP_CMP_EQ":
            tests.append(([op(LOAD, low)], argument["value"]))
        elif argument["op"] == "SCMP_CMP_MASKED_EQ":
            tests.append(([op(LOAD, low), op(ANY_BIT_AND, argument["value"])], argument.get("valueTwo", 0)))
        else:
            sys.exit(f"{argument['op']} is not known here")
    body = [op(RETURN, verdict)]
    for loads, value in reversed(tests):
        body = loads + [op(EQUAL, value, 0, len(body))] + body
    return [op(LOAD, 0), op(EQUAL, number, 0, len(body))] + body


def action(name, errno):
    return {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": ERRNO | errno}[name]


def op(code, value, if_so=0, if_not=0):
    return struct.pack("HBBI", code, if_so, if_not, value)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        code = program(json.load(file), numbers())
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(memory))
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filters, 0, 0)):
        if libc.prctl(*arguments) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
