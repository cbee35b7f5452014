"""Every example in the help is run for real, in a project in which it makes sense. A new one has to be added here."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from test_flow_every_command import examples

Shell = Any
ROOT = Path(__file__).resolve().parents[2]
HARMLESS = "019b7c01-0400-7000-8000-000000000000"  # an id that nothing has

#: Not run here, and why.
ELSEWHERE = {
    "upm demo": "twenty seconds; tests/cli/test_demo.py",
    "upm validate --exhaustive": "twenty seconds; tests/property/test_rollout_machine.py",
    "upm tui --read-only": "needs a terminal; tests/tui",
    "upm sync status -w": "goes on for ever; tests/sync",
    "upm top --screen drift --at 2h": "needs a terminal; tests/tui",
    "upm up": "goes on for ever; tests/process/test_up.py",
    "upm ps": "asks a supervisor; tests/cli/test_supervisor_commands.py",
    "upm down --drain --wait 5m": "asks a supervisor; tests/cli/test_supervisor_commands.py",
    'upm restart trainer-main --reason "the disk is back"': "asks a supervisor; tests/cli/test_supervisor_commands.py",
    "upm logs trainer-main -n 20": "reads what a supervisor wrote; tests/cli/test_supervisor_commands.py",
    "upm logs -f -o jsonl": "goes on for ever; tests/cli/test_supervisor_commands.py",
    'upm keys revoke 3f2a90c1d4e5b677 --reason "the backup tape was lost"': "made up; tests/cli/test_keys_command.py",
}
#: Started, asked to stop, and ended well.
SERVERS = {
    "upm agent serve --dir /var/lib/upm-agent --token-file /etc/upm/token": "--port 0",
    "upm metrics serve --port 9464": "--port 0",
}
#: In an order in which each works: the example, and the exit codes it may end with besides 0.
RUNS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("upm init shop", ()),
    ("upm version --json", ()),
    ("upm completion show bash >> ~/.bashrc", ()),
    ("upm explain UPM-E070", ()),
    ("upm explain gate quarantine", ()),
    ("upm help quickstart", ()),
    ("upm help runbook quarantine", ()),
    ("upm help config drift_monitor", ()),
    ("upm help snapshot list", ()),
    ("upm gate explain evidence", ()),
    ("upm config get drift_monitor.drift_threshold", ()),
    ("upm config path", ()),
    ("upm config schema > upm.schema.json", ()),
    ("upm config show --origin drift_monitor", ()),
    ("upm validate --json", ()),
    ("upm doctor", ()),
    ("upm doctor --fix --dry-run", ()),
    ("upm doctor --restore --dry-run", ()),
    ("upm doctor --bundle upm-report.tar.gz", ()),
    ("upm trainer add search --mode shadow", ()),
    ("upm trainer add old-search --mode shadow", ()),
    ('upm trainer remove old-search --yes --reason "replaced"', ()),
    ("upm trainer list -o json", ()),
    ("upm trainer remove search --yes", ()),
    ("upm trainer show main --json", ()),
    ("upm train main --mode shadow --source events.jsonl --once", ()),
    ("upm ingest inbox/*.jsonl --trainer main", ()),
    ("upm ingest --kind outcomes logs/ --trainer main", ()),
    ("upm snapshot create main", ()),
    ('upm snapshot --note "before the sale"', ()),
    ("upm snapshot list main --json", ()),
    ('upm snapshot pin main 42 --reason "the one in the paper"', ()),
    ("upm snapshot unpin main 42", ()),
    ("upm keys list", ()),
    ('upm keys init --reason "agents will ask for signatures"', ()),
    ('upm keys rotate --prepare --reason "a year is over"', ()),
    ('upm keys rotate --reason "a year is over"', (2,)),  # asks, and nobody is there to say yes
    ("upm keys export trust.json", ()),
    ('upm snapshot sign main 42 --reason "made before there was a key"', ()),
    ("upm snapshot verify main --all", ()),
    ("upm snapshot gc --keep 20 --keep-days 30 --dry-run", ()),
    ("upm activate main 1 --to-stage global --override --reason prepared", ()),
    ("upm activate main 2 --to-stage global --override --reason prepared", ()),
    ("upm snapshot show main active", ()),
    ("upm snapshot diff main active latest", ()),
    ("upm snapshot export main active --to model/", ()),
    ("upm at 2h", (4,)),
    ("upm at 2026-11-23T12:00Z main --json", (4,)),
    ('upm predict \'{"hour": 9, "sender": "bank.example"}\'', ()),
    ('upm anchor set main active --reason "what we had before it learned from itself"', ()),
    ("upm anchor show main", ()),
    ('upm anchor clear main --reason "a year of comparison is enough"', ()),
    ('upm rollback main --reason "users report wrong priorities" --yes', ()),
    ('upm drill rollback main --reason "monthly"', (4, 9)),
    ("upm drill rollout", (9,)),
    ("upm drill rollout --harm 'canary 10%'", (2, 9)),
    ("upm drift-report main --since 24h --plot", ()),
    ("upm drift-report main --out drift.html", ()),
    ("upm -q drift-report main --since 1h --fail-on breach -o json", (6,)),
    ("upm gate check main v42 --to-stage canary --percent 5", (5,)),
    ('upm gate override freeze main --reason "the fix can\'t wait" --expires 4h', ()),
    ("upm gate overrides main", ()),
    (f"upm gate approve {HARMLESS}", (4,)),
    (f'upm gate withdraw {HARMLESS} --reason "not needed any more"', (4,)),
    ('upm activate main v42 --to-stage canary --percent 5 --reason "passed a week of shadow"', (5,)),
    ("upm quarantine list main", ()),
    ("upm quarantine show main@42", (4,)),
    ('upm quarantine release main@42 --reason "the labels were wrong, not the model"', (4,)),
    ('upm snapshot release main 42 --reason "the labels were wrong, not the model"', (4,)),
    ('upm rollout start main --reason "the new features"', ()),
    ("upm rollout status main", ()),
    ("upm rollout status main --until healthy --timeout 10m", (10,)),
    ("upm rollout plan main", ()),
    ("upm rollout history main", ()),
    ("upm rollout readiness main --require production", (5,)),
    ("upm rollout tick --all", ()),
    ('upm rollout pause main --reason "support is busy"', ()),
    ("upm rollout resume main", ()),
    ('upm rollout promote main --reason "looks good, it is Monday" --yes', (5,)),
    ('upm rollout sign-off runbook main --note "wiki/upm, tried on Monday"', ()),
    ('upm rollout freeze --all --until 8h --reason "the database moves"', ()),
    ('upm rollout unfreeze --all --reason "the database has moved"', ()),
    ('upm rollout abort main --reason "wrong labels since noon" --yes', ()),
    ('upm rollout retry main --reason "the labels are fixed"', ()),
    ('upm tenant allow acme main --reason "they asked for it"', ()),
    ('upm tenant deny bank main --reason "audit until March"', ()),
    ('upm tenant clear bank main --reason "the audit is over"', ()),
    ("upm tenant list main", ()),
    ("upm tenant route acme main", ()),
    ("upm agent token /etc/upm/token", ()),
    ("upm agent status http://127.0.0.1:8765", (8, 10)),
    ("upm adapter add edge --kind directory --path /srv/models --tenant acme", ()),
    ("upm adapter add branch-7 --kind http --url https://10.1.2.3:8765 --token-file branch-7.token", (5,)),
    ("upm adapter list --json", ()),
    ("upm adapter show edge", ()),
    ("upm sync run --timeout 5m", ()),
    ("upm sync verify", ()),
    ("upm sync collect --ingest", ()),
    ('upm sync retry edge --reason "the token is right now"', ()),
    ('upm adapter remove edge --yes --reason "the shop was closed"', ()),
    ("upm notify secret ops.secret", ()),
    ("upm notify list", ()),
    ("upm notify run", ()),
    ("upm notify test ops", (8,)),
    ("upm metrics show 'upm_drift*'", ()),
    ("upm metrics write /var/lib/node_exporter/upm.prom", ()),
    ("upm metrics alerts > upm-alerts.yaml", ()),
    ("upm metrics alerts --runbook-url 'https://wiki.example/upm/{code}'", ()),
    ("upm metrics dashboard > upm-001.json", ()),
    ("upm backup create --folder /mnt/backup --keep 14", ()),
    ("upm backup list --folder /mnt/backup", ()),
    ("upm backup verify", ()),
    ("upm backup restore /mnt/backup/shop-20261129T023000Z-g4711.upmbackup /srv/shop", (4,)),
    ("upm schedule show cron", ()),
    ("upm schedule install systemd --dry-run", (4,)),  # where there is no systemd
    ("upm schedule install cron", (2, 4)),  # asks, and nobody is there to say yes; or there is no cron
    ("upm schedule remove --dry-run", ()),
    ('upm pause main --reason "labels look wrong"', ()),
    ("upm status --json", ()),
    ("upm status -w -o jsonl --timeout 2s", (10,)),
    ("upm resume main", ()),
    ("upm events --since 24h", ()),
    ("upm events --type 'upm.drift.*' -o jsonl", ()),
    ("upm events dead-letters main -o jsonl", ()),
    ("upm events dead-letters main --retry", (8,)),
    ('upm events dead-letters main --acknowledge --reason "test data of Monday" --yes', ()),
    ("upm explain 12", ()),
    ("upm audit list --since 24h", ()),
    ("upm audit list --type 'snapshot.*' --subject main --actor alice", ()),
    ("upm audit show 12", ()),
    ("upm audit show 019b7c01-0400 --json", (4,)),
    ("upm audit head --out head.json", ()),
    ("upm audit head -o jsonl | ssh vault 'cat >> upm-heads.jsonl'", ()),
    ("upm audit verify --recompute --anchor /mnt/other/upm-head.jsonl", (4,)),
    ('upm sql "SELECT tenant_id, count(*) FROM log GROUP BY 1 ORDER BY 2 DESC"', ()),
)
PREPARED = {
    "upm activate main 1 --to-stage global --override --reason prepared",
    "upm activate main 2 --to-stage global --override --reason prepared",
    "upm trainer add old-search --mode shadow",
    "upm trainer remove search --yes",
}
CONFIG = """\
policy: {canary_tenants: ['*'], min_shadow_hours: 0}
notify: {webhooks: [{name: ops, url: 'http://127.0.0.1:9/x'}], timeout_ms: 500}
"""


def test_every_example_is_run_or_said_why_not() -> None:
    known = {example for example, _ in RUNS} - PREPARED
    assert set(examples()) == known | set(SERVERS) | set(ELSEWHERE)


def words_of(example: str, folder: Path) -> list[str]:
    """Return the words of an example as they are typed here: our versions, our folders, no shell."""
    words = shlex.split(example)[1:]
    ends = [words.index(sign) for sign in ("|", ">", ">>") if sign in words]
    words = words[: min(ends, default=len(words))]
    found = [
        word.replace("42", "3") if "42" in word and "http" not in word and word != HARMLESS else word for word in words
    ]
    found = [str(folder / word[1:].replace("/", "-")) if word.startswith("/") else word for word in found]
    return ["--timeout=3s" if word == "10m" else word for word in found if word != "--timeout" or "10m" not in found]


def prepare(trained: Shell, tmp_path: Path) -> None:
    trained.write("events.jsonl", *(trained.event(i) for i in range(2000, 2100)), "{broken")
    for name in ("inbox", "logs"):
        (trained.folder / name).mkdir()
    (trained.folder / "inbox/one.jsonl").write_text(json.dumps(trained.event(2200)) + "\n")
    (trained.folder / "logs/predictions-edge-1-000001.jsonl").write_text("")
    with (trained.folder / "upm.yaml").open("a") as file:
        file.write(f"{CONFIG}backup: {{folder: '{tmp_path}/mnt-backup'}}\n")
    (tmp_path / "mnt-backup").mkdir()
    (trained.folder / "branch-7.token").write_text("x" * 64)
    (trained.folder / "branch-7.token").chmod(0o600)


def test_every_example_works(trained: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(trained, tmp_path)
    monkeypatch.chdir(trained.folder)
    wrong = []
    for example, may_end in RUNS:
        ran = trained(*words_of(example, tmp_path))
        if ran.code not in (0, *may_end) or "UPM-E001" in ran.err or "Traceback" in ran.err:
            wrong.append(f"{example}: {ran.code} {ran.err[-300:]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("example", "more"), SERVERS.items())
def test_servers_of_the_examples_start_and_stop(trained: Shell, tmp_path: Path, example: str, more: str) -> None:
    token = tmp_path / "etc-upm-token"
    assert trained("agent", "token", str(token)).code == 0
    words = [*words_of(example, tmp_path), *more.split()]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "upm_cli", *words, "-o", "json"]
    with subprocess.Popen(command, cwd=trained.folder, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = re.search(r"http://127.0.0.1:\d+", server.stdout.readline())
        assert url is not None
        with urllib.request.urlopen(f"{url[0]}/healthz", timeout=60) as answer:  # it listens; answering, it can stop
            assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) in (0, 143)
