"""The file of the lines that an import rejects, to be corrected and imported in its turn."""

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from seqdev.errors import SeqdevError, UsageError
from seqdev.files import plain_file
from seqdev.output.text import guarded


class RejectsFile:
    """A CSV file of rejected lines that is there as a whole, when ``publish`` was called, or not at all.

    Raises UsageError, before anything is done, when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = plain_file(path)
        try:
            # Made with mode 0600: it holds phones.
            handle, self._temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
        self._file = os.fdopen(handle, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever was not published is gone."""
        with suppress(OSError):
            self._file.close()
        Path(self._temporary).unlink(missing_ok=True)

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows, harmless for spreadsheets; ``LeadFile`` reads them as they are here.

        Raises SeqdevError when the disk is full.
        """
        for row in rows:
            cells = [guarded(str(cell)) for cell in row]
            with self._writing():
                self._writer.writerow(cells)
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give the file its name. Raises SeqdevError when that fails."""
        with self._writing():
            os.replace(self._temporary, self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SeqdevError(
                f"cannot write {self.path}: {error.strerror}: nothing was imported", "make room and try again"
            ) from error
