"""What `upm validate` asks about the surroundings of a project: people, places models go to, input, webhooks."""

import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.core.policy import AccessPolicy, may, role_of
from upm_cli.errors import UpmError
from upm_cli.ops import authority
from upm_cli.ops.checks import Check, Subject

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings, WebhookSettings

SHORT_MS: Final = 3000  # how long one place, or one name, may take to answer
_SHOWN: Final = 3


def result(name: str, wrong: Sequence[str], doubtful: Sequence[str], good: str, hint: str) -> Check:
    """Return a failed check when something is `wrong`, else a warning when something is `doubtful`, else a pass."""
    if not wrong and not doubtful:
        return Check(name=name, status="pass", detail=good)
    told = [*wrong, *doubtful]
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    status = "fail" if wrong else "warn"
    return Check(name=name, status=status, detail="; ".join(told[:_SHOWN]) + more, hint=hint)


def unread(name: str) -> Check:
    return Check(name=name, status="skip", detail="the configuration can't be read")


def policy(subject: Subject) -> Check:
    """Check that roles and people are real, that somebody is an admin, and that a canary can be had."""
    name = "policy"
    if subject.settings is None:
        return unread(name)
    access = authority.access(subject.settings)
    wrong, doubtful = _nobody(subject, access), [*_strangers(access)]
    if not access.canary_tenants:
        doubtful.append("policy.canary_tenants is empty: there can be no canary")
    people = "the owner of .upm is the admin" if not access.actors else f"{len(access.actors)} actors, with an admin"
    good = f"{people}; canary_tenants: {', '.join(access.canary_tenants)[:60]}"
    if wrong:
        return result(name, wrong, doubtful, good, "policy.actors in upm.yaml, as in {alice: admin}")
    hint = "policy.canary_tenants: [acme], or ['*'] for all" if not access.canary_tenants else "policy in upm.yaml"
    return result(name, wrong, doubtful, good, hint)


def _nobody(subject: Subject, access: AccessPolicy) -> list[str]:
    """Return what nobody is there to do."""
    people = list(access.actors)
    if not people:
        if not subject.home.is_dir():
            return []  # its owner will be the admin
        people = [_owner(subject.home)]
    roles = {person: role_of(person, access, owner=person) for person in people}
    wrong = []
    if not any(may(role, "override", access).allowed for role in roles.values()):
        wrong.append("nobody is an admin: no gate can be overridden and no quarantine released")
    approvers = sum(may(role, "approve", access).allowed for role in roles.values())
    if access.second_approver and approvers < 2:
        wrong.append("policy.second_approver is on, and there is no second person who may approve")
    return wrong


def _owner(home: Path) -> str:
    from upm_cli import actors

    return actors.name_of(home.stat().st_uid)


def _strangers(access: AccessPolicy) -> Iterator[str]:
    known = {"viewer", "operator", "approver", *access.admin_roles}
    for person, role in access.actors.items():
        if role not in known:
            yield f"{person} has role {role!r}, which is none: {person} may only look"
        try:
            pwd.getpwnam(person)
        except KeyError:
            yield f"{person} is no user of this machine"


def adapters(subject: Subject) -> Check:
    """Ask every place of an adapter what it serves, for a short time, and whether it could take something new."""
    from upm_cli.ops import sync_verify
    from upm_cli.store import adapters as rows_of
    from upm_cli.store.session import Store

    name = "adapters"
    if subject.settings is None:
        return unread(name)
    store = Store(subject.home, subject.clock, command="upm validate")
    try:
        with store.read() as reader:
            rows = rows_of.list_all(reader)
    except UpmError:
        return Check(name=name, status="skip", detail="the state can't be read")
    finally:
        store.close()
    if not rows:
        return Check(name=name, status="skip", detail="there are none: upm adapter add")
    verdicts = sync_verify.verify_rows(rows, subject.clock, _hurried(subject.settings))
    wrong = [
        f"{each.row.adapter_key}: {each.detail}"
        for each in verdicts
        if each.verdict in (sync_verify.DIFFERS, sync_verify.UNREACHABLE)
    ]
    wrong += [
        f"{key}: {location} can't be written"
        for key, location in sorted({(row.adapter_key, row.location) for row in rows if row.kind == "directory"})
        if Path(location).is_dir() and not os.access(location, os.W_OK | os.X_OK)
    ]
    served = sum(each.verdict == sync_verify.OK for each in verdicts)
    good = f"all answer: {served} serve what they confirmed, {len(rows) - served} nothing yet"
    return result(name, wrong, (), good, "upm sync verify asks again; upm sync status")


def _hurried(settings: "Settings") -> "Settings":
    """Return the settings with less patience for places that don't answer."""
    limits = settings.adapter_sync
    return replace(settings, adapter_sync=replace(limits, sync_timeout_ms=min(SHORT_MS, limits.sync_timeout_ms)))


def sources(subject: Subject) -> Check:
    """Check that what the trainers of upm.yaml learn from is there, and readable."""
    name = "sources"
    if subject.settings is None:
        return unread(name)
    named = [
        (trainer.name, spec)
        for trainer in subject.settings.supervisor.default_trainers
        for spec in (*trainer.sources, *trainer.outcomes)
    ]
    if not named:
        return Check(name=name, status="skip", detail="no trainer in upm.yaml has sources")
    wrong, empty = [], []
    for trainer, spec in named:
        path = subject.project / Path(spec).expanduser()
        if has_magic(spec) and not path.exists():
            if not glob(str(path), recursive=True):  # noqa: PTH207
                empty.append(f"{trainer}: nothing matches {spec} yet")
        elif not path.exists():
            wrong.append(f"{trainer}: there is no {path}")
        elif not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            wrong.append(f"{trainer}: {path} can't be read")
    good = f"all {len(named)} are there"
    return result(name, wrong, empty, good, "supervisor.default_trainers in upm.yaml: sources and outcomes")


def notifications(subject: Subject) -> Check:
    """Check that every webhook leads somewhere that may be told, and that its secret can be read. Nothing is sent."""
    name = "notifications"
    if subject.settings is None:
        return unread(name)
    webhooks = subject.settings.notify.webhooks
    if not webhooks:
        return Check(name=name, status="skip", detail="no webhook is set up")
    wrong: list[str] = []
    doubtful: list[str] = []
    for webhook in webhooks:
        why, is_final = _refusal(subject, webhook)
        if why:
            (wrong if is_final else doubtful).append(f"{webhook.name}: {why}")
    hint = "notify in upm.yaml; upm notify test sends a message"
    return result(
        name, wrong, doubtful, f"{len(webhooks)} set up; their addresses are allowed, their secrets readable", hint
    )


def _refusal(subject: Subject, webhook: "WebhookSettings") -> tuple[str, bool]:
    """Return why a webhook could not be told, and whether that stays so; a name that is not found may be soon."""
    from upm_cli.ops import notify
    from upm_cli.safehttp.addresses import Allowed
    from upm_cli.safehttp.client import Site
    from upm_cli.safehttp.faults import HttpError
    from upm_cli.safehttp.urls import parse

    assert subject.settings is not None
    try:
        notify.secret_of(webhook, subject.project)
        allowed = Allowed.of(subject.settings.notify.allow_hosts)
        Site.look_up(parse(webhook.url), allowed, lambda: SHORT_MS / 1000)
    except HttpError as exc:
        return exc.message, False
    except UpmError as exc:
        return exc.message, True
    return "", False
