"""Files that several processes share: replaced as a whole, and locked by pieces."""

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # where there are no such locks, stores are refused
    fcntl = None

_open: set[str] = set()  # lock files that this process has open
_open_guard = threading.Lock()


def replace(path: Path, contents: Any) -> None:
    """Writes JSON; whoever reads sees the file from before or the new one, never half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".partial")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(contents, file)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


class Locks:
    """The locks of one store: number 0 for its metadata, number 1 + k for chunk k.

    They are bytes of one file, locked by the system, which releases them when a process ends in
    whatever way. They are held by processes: one process may open a store once at a time.
    """

    def __init__(self, path: Path):
        if fcntl is None:
            raise OSError(
                "Argument `store` must be None on this system, which has no locks of POSIX: two "
                "processes could not be kept from writing one store."
            )
        self._name = str(path.resolve())
        with _open_guard:
            if self._name in _open:
                raise RuntimeError(
                    f"Argument `store` must not be in use, but another sweep of this process "
                    f"writes {path.parent.parent}."
                )
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            _open.add(self._name)

    def close(self) -> None:
        os.close(self._descriptor)
        with _open_guard:
            _open.discard(self._name)

    def take(self, number: int, wait: bool) -> bool:
        """Whether the lock is this process's now."""
        assert fcntl is not None
        flags = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.lockf(self._descriptor, flags, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self, number: int) -> None:
        assert fcntl is not None
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)

    @contextlib.contextmanager
    def metadata(self) -> Iterator[None]:
        self.take(0, wait=True)
        try:
            yield
        finally:
            self.release(0)
