"""``seqdev leads``."""

import typer

app = typer.Typer(help="Leads.")


@app.callback()
def root() -> None:
    """Leads."""
