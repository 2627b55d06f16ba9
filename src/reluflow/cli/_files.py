"""Where files go: tried before a run, and filled with all of them at once after it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ._settings import wrong

FILES = ("summary.json", "trajectory.npz", "loss.png", "states.png")


def check(out: Path, names: tuple[str, ...]) -> None:
    """Raises typer.BadParameter where files of these names could not be written to `out`.

    By trying: rights alone do not tell of a disk that is full, or only read. Leaves nothing behind.
    """
    missing = []
    try:
        if out.exists() and not out.is_dir():
            raise wrong("--out", f"must be a directory, but {out} is a file.")
        missing = [path for path in (out, *out.absolute().parents) if not path.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"x")
        for name in names:
            if (out / name).is_dir():
                raise wrong("--out", f"cannot be written to: {out / name} is a directory.")
    except OSError as error:
        raise wrong("--out", f"cannot be written to: {error.strerror} ({out}).") from None
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def together(out: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """A directory to write in, whose files are moved into `out` once all are complete.

    They take the place of all files of these names that are there already; others stay. Where
    writing raises, `out` stays as it was.
    """
    out = out.absolute()
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))  # on the same disk
    try:
        yield draft
        for name in names:
            (out / name).unlink(missing_ok=True)
        for path in sorted(draft.iterdir()):
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()  # where nothing was moved into it
