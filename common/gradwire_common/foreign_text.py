"""Text that others wrote: peers, files, tasks. It passes `printable` before it is logged, shown or written."""

MAX_TEXT = 400  # characters of an error that travels; gRPC's headers take 8 KiB, and some characters 12 bytes of them
MAX_REASON = 200  # characters of what a worker says when it leaves, or a server when a run ends


def printable(text: str, most: int | None = None) -> str:
    """Return `text` in one line of characters that show as they are.

    Control characters, line ends, changes of the direction of writing, surrogates and other characters that are not
    seen are written as Python's escapes, so that no text forges a line of a log or speaks to the terminal.

    Args:
        text: any.
        most: characters; what is longer is cut, and says so. None for no limit.
    """
    if most is not None and len(text) > most:
        text = f"{text[:most]}... ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
