"""`gradwire study`: methods beside each other, as tables, plots and reports."""

from gradwire.commands.studies import distortion, frontier
from gradwire.help import PlainApp

app = PlainApp(help="Set methods side by side on one machine: tables, plots and reports.")


@app.callback()
def study() -> None:
    """Set methods side by side on one machine: tables, plots and reports."""


distortion.add_to(app)
frontier.add_to(app)
