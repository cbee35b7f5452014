"""Write the generated parts of docs/reference: run it after changing a setting or a command; tests compare."""

from pathlib import Path

from upm_cli.agent.server.reference import page as agent_http
from upm_cli.app import build
from upm_cli.commands._reference import cli_reference
from upm_cli.config.reference import settings_tables
from upm_cli.core import event_docs
from upm_cli.ops import help
from upm_cli.telemetry.metrics import reference

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference"
END = "<!-- end -->\n"


def main() -> None:
    for name, texts in parts().items():
        page = REFERENCE / name
        page.write_text(filled(page.read_text(), texts))
    for name, topic in help.whole_pages().items():
        (ROOT / name).write_text(help.page_of(topic))
    (REFERENCE / "events.md").write_text(event_docs.markdown())
    (REFERENCE / "metrics.md").write_text(reference.markdown())
    (REFERENCE / "agent-http.md").write_text(agent_http())


def parts() -> dict[str, dict[str, str]]:
    """Return what is made inside pages that are otherwise written by hand: page → mark → text."""
    return {
        "config.md": {"config": help.asset("config.md").partition("\n\n")[2], "generated": settings_tables()},
        "cli.md": {"formatting": f"#{help.topic('formatting').text}", "generated": cli_reference(build())},
    }


def filled(text: str, texts: dict[str, str]) -> str:
    """Return a page with each text between `<!-- its mark -->` and `<!-- end -->`."""
    for mark, made in texts.items():
        head, begin, rest = text.partition(f"<!-- {mark} -->\n")
        text = f"{head}{begin}{made}{END}{rest.partition(END)[2]}"
    return text


if __name__ == "__main__":
    main()
