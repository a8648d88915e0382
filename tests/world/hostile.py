"""Text that must not reach a terminal as it is."""

HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202eevil\u2066\r\n|pipe\x00\x7f[red]"
CONTROL = set(map(chr, [*range(0, 9), 11, 12, *range(14, 32), 127, *range(128, 160)])) | set(
    "\u202e\u2066\u2069"
)
