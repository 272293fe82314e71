"""What runs inside the sandbox: takes rights away from itself, then runs a program. Started by ``sandbox``, never imported.

Arguments: the file of the program, and the limits as JSON. On standard input: the word that says "ran to its end".
"""

import ctypes
import json
import os
import sys

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.kill",
    "pty.",
    "ctypes.dlopen",
    "signal.pthread_kill",
)
"""Beginnings of the names of audit events that a program may not cause: other processes, network, C libraries."""
CHANGES_FILES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)
"""Audit events that change files, which a program may do below its own folder alone."""


def leave_network() -> str:
    """Move into a network namespace without any interface, where the kernel lets us; says what holds."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(NEW_USER | NEW_NETWORK) == 0:
            return "network namespace"
    except (OSError, AttributeError):
        pass
    return "audit hook"


def limit(settings: dict[str, int]) -> list[str]:
    """Set the limits that the system knows; the names of those that hold."""
    try:
        import resource
    except ImportError:
        return []
    held = []
    for name, value in settings.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
            held.append(name)
        except (AttributeError, OSError, ValueError):
            continue
    return held


def guard(folder: str) -> None:
    """Refuse sockets, processes, and changes of files outside ``folder``, for good: an audit hook cannot be taken off."""

    def outside(path: object) -> bool:
        if isinstance(path, int):
            return False
        name = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # an audit event hands over what the program gave
        return not (name == os.devnull or name.startswith(folder + os.sep))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise PermissionError(f"{event} is not allowed in the sandbox")
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            mode, flags = arguments[1], arguments[2]
            writes = isinstance(flags, int) and flags & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            )
            if (writes or (isinstance(mode, str) and set(mode) & set("wax+"))) and outside(arguments[0]):
                raise PermissionError("files outside the working folder cannot be written in the sandbox")
        elif event in CHANGES_FILES and any(
            outside(path) for path in arguments[:2] if isinstance(path, (str, bytes, os.PathLike))
        ):
            raise PermissionError("files outside the working folder cannot be changed in the sandbox")

    sys.addaudithook(hook)


def main() -> None:
    """Read, restrict, run, and say the word."""
    program, settings = sys.argv[1], json.loads(sys.argv[2])
    word = sys.stdin.readline()
    with open(program, encoding="utf-8") as file:
        source = file.read()
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    folder = os.path.realpath(os.getcwd())
    os.write(answer, (json.dumps({"network": leave_network(), "limits": limit(settings)}) + "\n").encode())
    sys.argv = ["program.py"]
    guard(folder)
    exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
    os.write(answer, word.encode())


if __name__ == "__main__":
    main()
