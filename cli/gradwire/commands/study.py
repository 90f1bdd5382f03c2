"""`gradwire study`: methods beside each other, as tables, plots and reports."""

from gradwire.commands.studies import frontier
from gradwire.help import PlainApp

app = PlainApp(help="Set methods side by side on one machine: tables, plots and reports.")


@app.callback()
def study() -> None:
    """Set methods side by side on one machine: tables, plots and reports."""


frontier.add_to(app)
