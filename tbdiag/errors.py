"""The exceptions of tbdiag, and the table of what the operating system raises.

TbdiagError
├── UsageError          bad arguments or configuration: exit 2
└── InternalError       a fault of tbdiag itself: exit 3
"""

from __future__ import annotations

import errno
import socket


class TbdiagError(Exception):
    """Root of every exception that tbdiag raises on purpose."""


class UsageError(TbdiagError):
    """The input is wrong: the message names the input and says what to do. Exit code 2."""


class InternalError(TbdiagError):
    """tbdiag itself failed. Exit code 3."""


_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EAFNOSUPPORT: "unreachable",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
}


def os_error_kind(error: BaseException) -> str:
    """One word for what the operating system raised while dialling, reading or writing.

    `refused`, `timeout`, `unreachable`, `forbidden`, `reset`, or `other`.
    """
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "timeout"
    if isinstance(error, OSError) and error.errno is not None:
        return _KINDS.get(error.errno, "other")
    return "other"
