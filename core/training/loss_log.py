"""The loss curve of a run: a file with one line per step, and TensorBoard if it is installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .checkpoint import unwritten, write_text

LOG_FILE = "log.jsonl"


class Journal:
    """Appends rows of numbers to ``folder/log.jsonl``, after removing rows after ``step`` (from a killed run)."""

    def __init__(self, folder: Path, step: int, note: Callable[[str], None]) -> None:
        self._folder, self._path = folder, folder / LOG_FILE
        self._file = None
        self._board: Any = None
        self._note = note
        try:
            self._tensorboard = importlib.import_module("torch.utils.tensorboard")
        except ImportError:
            self._tensorboard = None
            note("TensorBoard is not installed, so scalars are written to log.jsonl only.")
        self.rewind(step)

    def rewind(self, step: int) -> None:
        """Removes all rows after ``step``."""
        self.close()
        rows = [row for row in read_rows(self._path) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(self._path, text)
        try:
            self._file = self._path.open("a", encoding="utf-8")
            if self._tensorboard is not None:
                # Its files cannot be truncated; readers skip the steps that a later file declares invalid.
                self._board = self._tensorboard.SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise unwritten(self._path, error) from error

    def write(self, step: int, values: Mapping[str, float], group: str = "train") -> None:
        """Adds a row, which is in the file when this returns. Raises ``InputError`` if the disk is full."""
        try:
            if self._file is not None:
                self._file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
                self._file.flush()
            if self._board is not None:
                for name, value in values.items():
                    self._board.add_scalar(f"{group}/{name}", value, step)
        except OSError as error:
            raise unwritten(self._path, error) from error

    def settle(self) -> None:
        """Flushes TensorBoard's scalars to the disk too, so that no rows before a saved state are lost.

        Raises ``InputError`` if the disk is full.
        """
        try:
            if self._board is not None:
                self._board.flush()
        except OSError as error:
            raise unwritten(self._path, error) from error

    def close(self) -> None:
        """Never raises: it is also called after disk errors."""
        file, board, self._file, self._board = self._file, self._board, None, None
        try:
            if file is not None:
                file.close()
            if board is not None:
                board.close()
        except OSError as error:
            self._note(f"The last rows of {self._path} may be missing: {error.strerror or error}.")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log file, without a last line that a crash truncated."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
