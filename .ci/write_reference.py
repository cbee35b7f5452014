"""Write the generated parts of docs/reference: run it after changing a setting or a command; tests compare."""

from pathlib import Path

from upm_cli.agent.server.reference import page as agent_http
from upm_cli.app import build
from upm_cli.commands._reference import cli_reference
from upm_cli.config.reference import settings_tables
from upm_cli.core import event_docs
from upm_cli.telemetry.metrics import reference

REFERENCE = Path(__file__).resolve().parents[1] / "docs/reference"
BEGIN, END = "<!-- generated -->\n", "<!-- end -->\n"


def main() -> None:
    for name, text in (("config.md", settings_tables()), ("cli.md", cli_reference(build()))):
        page = REFERENCE / name
        head, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{head}{BEGIN}{text}{END}{rest.partition(END)[2]}")
    (REFERENCE / "events.md").write_text(event_docs.markdown())
    (REFERENCE / "metrics.md").write_text(reference.markdown())
    (REFERENCE / "agent-http.md").write_text(agent_http())


if __name__ == "__main__":
    main()
