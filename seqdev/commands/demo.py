"""``seqdev demo``."""


def demo() -> int:
    """Show the main job on the embedded server, in a scratch database."""
    return 0
