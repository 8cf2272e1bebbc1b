"""What is kept where Ctrl-C ends a command: whoever keeps something says so, however soon the process must end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

GOES_ON = "goes on"
_notes: list[Callable[[], str]] = []


@contextmanager
def keeping(note: Callable[[], str]) -> Iterator[None]:
    """Let `note` say what is kept when Ctrl-C comes inside the block: one clause, or "" where nothing is yet.

    What is raised out of the block takes the clause along as a note (`__notes__`): KeyboardInterrupt, or what a library
    makes of it.
    """
    _notes.append(note)
    try:
        yield
    except BaseException as error:
        if text := note():
            error.add_note(text)
        raise
    finally:
        _notes.remove(note)


def kept(error: BaseException | None = None) -> str:
    """Return what is kept and how to go on: what an exception took along, or, without one, what is kept right now."""
    clauses: Sequence[str] = getattr(error, "__notes__", ()) if error else [note() for note in _notes[::-1]]
    text = "; ".join(filter(None, clauses))
    return text if text.endswith(GOES_ON) else "; ".join(filter(None, [text, f"the same command {GOES_ON}"]))
