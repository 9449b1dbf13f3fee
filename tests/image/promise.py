"""A promise of the image, stated and looked at."""


class Failed(Exception):
    """A promise that was not kept."""


def check(holds, what):
    """States a promise."""
    if not holds:
        raise Failed(what)


def say(words):
    """A line for whoever waits."""
    print(words, flush=True)
