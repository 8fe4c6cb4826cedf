"""Becomes another program: tied to its parent's life, and as another user where asked.

Run as a script in an isolated interpreter, so that it costs 20 ms and nothing of this project is imported:
`python -I -S launch.py '{"parent": 1, "death_signal": 2, "uid": 65534, "gid": 65534, "traverse": true}' program ...`

`traverse` lets the other user pass through folders that are closed to it (a checkout below a 0700 home), without
changing the mode of anything: one ambient capability, kept across the change of user.
"""

import ctypes
import json
import os
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _become(libc: ctypes.CDLL, uid: int, gid: int, *, traverse: bool) -> None:
    capability = _a_capability_to_traverse(libc) if traverse else None
    if capability is not None:
        # Without this bit access(2) answers as if the capability were not there, and initdb believes it.
        allowed = libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0
        capability = capability if allowed else None
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is not None:
        only = 1 << capability
        sets = (_Sets * 2)(_Sets(only, only, only), _Sets(0, 0, 0))
        if libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets) != 0:
            sys.exit("the capabilities of root cannot be given up")
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _a_capability_to_traverse(libc: ctypes.CDLL) -> int | None:
    """The weaker of the two that this process has: many containers have only the stronger one."""
    sets = (_Sets * 2)()
    libc.capget(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets)
    return next((c for c in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if sets[0].permitted & (1 << c)), None)


def main() -> None:
    """Change user, ask to be told of the parent's death, and become the program."""
    order, *program = sys.argv[1:]
    how = json.loads(order)
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    if how["uid"] is not None:
        _become(libc, how["uid"], how["gid"], traverse=linux and how["traverse"])
    if linux and how["death_signal"]:
        # A change of user forgets this setting, so it comes last; and the parent may be gone already.
        libc.prctl(_PR_SET_PDEATHSIG, how["death_signal"], 0, 0, 0)
        if os.getppid() != how["parent"]:
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - becoming this program is the purpose; there is no shell


if __name__ == "__main__":
    main()
