"""A short queue between two threads that either of them can end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Closed(Exception):
    """The other side has stopped."""


class Channel(Generic[Item]):
    """Holds at most ``room`` items. The producer calls ``put`` and finally ``end``; the consumer iterates, and calls
    ``cut`` if it stops early, which makes ``put`` raise ``Closed``."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: deque[Item] = deque()
        self._change = threading.Condition()
        self._ended, self._cut = False, False

    def put(self, item: Item) -> None:
        """Waits for room."""
        with self._change:
            self._change.wait_for(lambda: self._cut or len(self._items) < self._room)
            if self._cut:
                raise Closed
            self._items.append(item)
            self._change.notify_all()

    def end(self) -> None:
        """No more items follow; the consumer still gets those in the queue."""
        with self._change:
            self._ended = True
            self._change.notify_all()

    def cut(self) -> None:
        """No more items are consumed."""
        with self._change:
            self._cut = True
            self._items.clear()
            self._change.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._items) or self._ended)
                if not self._items:
                    return
                item = self._items.popleft()
                self._change.notify_all()
            yield item
