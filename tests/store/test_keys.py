"""Keys as units of work: made, rotated, revoked; cut short at every step; and what they sign on the way."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from upm_cli import actors, ed25519
from upm_cli.clock import ManualClock
from upm_cli.config.schema import Settings, SnapshotManagerSettings
from upm_cli.core.delivery import pem
from upm_cli.core.delivery.keyring import KeyState
from upm_cli.core.records import Snapshot, Trainer
from upm_cli.errors import BusyError, IntegrityError, InvalidError, NotFoundError, RefusedError, UsageError
from upm_cli.ops import key_health, key_list, keys, made_up, signatures, snapshot_signing, take
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.keys import Changed, signer
from upm_cli.store import fsio, ledger, snapshots, trainers
from upm_cli.store import keys as files
from upm_cli.store.session import Store

ME = actors.current()
CLOCK = ManualClock(1_800_000_000_000)
SETTINGS = Settings()
WHY = "a year is over"


class Killed(BaseException):
    """The process died here."""


class Entropy:
    """Gives other bytes each time, always the same ones."""

    def __init__(self, first: int = 1) -> None:
        self.n = first

    def __call__(self, count: int) -> bytes:
        self.n += 1
        return bytes([self.n]) * count


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three snapshots and no key, of which v2 serves after v1 did; take `home`."""
    home = tmp_path_factory.mktemp("keys") / "upm"
    with closing(Store.create(home, CLOCK)) as store:
        for _ in range(3):
            made_up.learn(store, CLOCK, SETTINGS, "main")
        made_up.serve(store, CLOCK, "main", 1)
        made_up.serve(store, CLOCK, "main", 2)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "upm"))


def act(home: Path, verb: Callable[..., Any], *words: Any, **more: Any) -> Any:
    with closing(Store(home, CLOCK)) as store:
        return verb(store, CLOCK, SETTINGS, *words, actor=ME, **more)


def init(home: Path, **more: Any) -> Changed:
    return act(home, keys.init, **{"entropy": Entropy()} | more)  # type: ignore[no-any-return]


def rotate(home: Path, **more: Any) -> Changed:
    return act(home, keys.rotate, **{"reason": WHY, "entropy": Entropy(50)} | more)  # type: ignore[no-any-return]


def rows(home: Path) -> list[Snapshot]:
    with closing(Store(home, CLOCK)) as store, store.read() as reader:
        return snapshots.list_for(reader, "main")


def states(home: Path) -> list[str]:
    """Return what the signature of each version comes to."""
    return [found.words().replace("signed by ", "") for found in signatures.judged(home, rows(home))]


def entries(home: Path) -> list[tuple[str, str]]:
    return [(each["action"], each["subject"]) for each in ledger.read(home) if each["action"].startswith("keys.")]


def problems(home: Path, *, is_required: bool = True) -> list[str]:
    with closing(Store(home, CLOCK)) as store, store.read() as reader:
        used = key_health.of_use(home, reader, is_required=is_required, now_ms=CLOCK.now_ms())
    return [f"{each.status}: {each.detail}" for each in (*key_health.of_files(home), *used)]


def private_files(home: Path) -> set[str]:
    return {path.stem for path in (home / "keys").glob("*.pem")}


def test_the_first_key_signs_what_there_is_and_what_is_made_from_then_on(home: Path) -> None:
    assert signer(home) is None
    assert states(home) == ["unsigned"] * 3
    done = init(home)
    assert done.keyid is not None
    assert (done.signed, done.is_done) == (("main@1", "main@2", "main@3"), False)
    act(home, lambda *given, actor: made_up.learn(*given, "main"))
    assert states(home) == [done.keyid] * 4
    assert entries(home) == [("keys.init", done.keyid)]
    assert (problems(home), private_files(home)) == ([], {done.keyid})
    assert [path.stat().st_mode & 0o777 for path in (home / "keys").iterdir()] == [0o600, 0o600]


def test_a_second_first_key_is_none(home: Path) -> None:
    first, again = init(home), init(home)
    assert (again.is_done, again.keyid) == (True, first.keyid)
    assert len(entries(home)) == 1


def test_snapshots_there_are_can_be_left_unsigned(home: Path) -> None:
    assert init(home, sign_existing=False).signed == ()
    assert states(home) == ["unsigned"] * 3
    assert problems(home) == [
        "fail: tenants get what no believed key has signed: main@2 is unsigned",
        "warn: a rollback may need what no believed key has signed: main@1 is unsigned, main@3 is unsigned",
    ]
    assert problems(home, is_required=False)[0].startswith("warn: tenants get")


def test_damaged_snapshots_are_not_signed(home: Path) -> None:
    path = home / rows(home)[0].path
    path.write_bytes(path.read_bytes()[:-1])
    done = init(home)
    assert (done.signed, len(done.damaged)) == (("main@2", "main@3"), 1)
    assert states(home)[0] == "unsigned"


def test_a_key_changes_no_byte_of_a_snapshot(template: Path, tmp_path: Path) -> None:
    made = []
    for name in ("with", "without"):
        home = Path(shutil.copytree(template, tmp_path / name))
        if name == "with":
            init(home)
        act(home, lambda *given, actor: made_up.learn(*given, "main"))
        made.append(rows(home)[-1])
    assert replace(made[0], signatures=()) == replace(made[1], signatures=())
    assert len(made[0].signatures) == 1


def test_a_snapshot_that_is_numbered_anew_is_signed_as_what_it_becomes(home: Path) -> None:
    keyid = init(home).keyid
    with closing(Store(home, CLOCK)) as store:
        with store.read() as reader:
            trainer = trainers.get(reader, "main")
        fields = {"log": {"first_seq": 0, "last_seq": 9}, "windows": 10, "metrics": {}}
        prepared = snapshot_ops.prepare(home, CLOCK, SETTINGS, trainer, {}, fields, checkpoint_digest=None)
        before = made_up.learn(store, CLOCK, SETTINGS, "main")  # takes the number
        with store.write(actor=ME) as tx:
            row, moved = snapshot_ops.register(tx, home, trainers.get(tx, "main"), prepared)
            trainers.put(tx, moved)
    assert (prepared.row.version, row.version) == (before, before + 1)
    assert row.signatures != prepared.row.signatures
    assert states(home)[-2:] == [keyid, keyid]


def test_a_rotation_signs_anew_what_serves_and_what_can_be_gone_back_to(home: Path) -> None:
    old = init(home).keyid
    for _ in range(3):
        act(home, lambda *given, actor: made_up.learn(*given, "main"))
    done = rotate(home)
    assert done.before == old
    assert done.signed == ("main@1", "main@2", "main@6")  # served before, serves, newest
    assert states(home) == [done.keyid, done.keyid, old, old, old, done.keyid]
    assert signatures.judged(home, rows(home))[1].by == (done.keyid, old)
    assert private_files(home) == {done.keyid}
    assert entries(home)[-1] == ("keys.rotate", done.keyid)
    assert problems(home) == []


def test_a_rotation_vouches_for_nothing_that_was_not_signed(home: Path) -> None:
    init(home, sign_existing=False)
    done = rotate(home)
    assert (done.signed, done.unsigned) == ((), ("main@1", "main@2", "main@3"))
    assert states(home) == ["unsigned"] * 3


def test_a_key_that_agents_were_told_of_signs_next(home: Path) -> None:
    init(home)
    made = act(home, keys.prepare, entropy=Entropy(90))
    assert act(home, keys.prepare, entropy=Entropy(91)).is_done
    told = keys.trust(home)
    assert set(told.keys) == {made.before, made.keyid}
    assert rotate(home).keyid == made.keyid
    assert keys.trust(home).keys == told.keys
    assert [action for action, _ in entries(home)] == ["keys.init", "keys.prepare", "keys.rotate"]


def test_a_prepared_key_whose_file_is_lost_is_revoked_and_another_one_made(home: Path) -> None:
    init(home)
    lost = act(home, keys.prepare, entropy=Entropy(90)).keyid
    files.seed_file(home, lost).unlink()
    assert any("is missing" in each for each in problems(home))
    done = rotate(home)
    assert done.keyid not in (None, lost)
    assert lost in keys.trust(home).revoked
    assert problems(home) == []


def test_naming_the_key_to_leave_makes_a_rotation_safe_to_repeat(home: Path) -> None:
    old = init(home).keyid
    assert old is not None
    first = rotate(home, leaving=old)
    again = rotate(home, leaving=old[:6])
    assert (again.is_done, again.keyid) == (True, first.keyid)
    with pytest.raises(NotFoundError):
        rotate(home, leaving="0123")
    coming = act(home, keys.prepare, entropy=Entropy(90)).keyid
    with pytest.raises(UsageError, match="does not sign yet"):
        rotate(home, leaving=coming)


def test_what_only_a_revoked_key_signed_counts_as_unsigned_until_it_is_signed_anew(home: Path) -> None:
    old = init(home).keyid
    done = rotate(home)
    act(home, lambda *given, actor: made_up.serve(*given[:2], "main", 3))
    with closing(Store(home, CLOCK)) as store, store.write(actor=ME) as tx:  # v3: as if made between the rotations
        row = snapshots.get(tx, "main", 3)
        snapshots.sign(tx, [replace(row, signatures=row.signatures[1:])])
    gone = act(home, keys.revoke, str(old)[:8], reason="the tape was lost")
    assert (gone.keyid, gone.unsigned, gone.serving) == (old, ("main@3",), ("main@3",))
    assert states(home)[2] == f"{old}, which is revoked"
    assert states(home)[0] == done.keyid
    assert act(home, keys.revoke, old, reason="again").is_done
    signed = act_sign(home, ("main", None))
    assert (signed.signed, signed.already) == (("main@3",), ("main@1", "main@2"))
    assert states(home) == [done.keyid] * 3
    assert [len(row.signatures) for row in rows(home)] == [2, 2, 1]
    assert [action for action, _ in entries(home)] == ["keys.init", "keys.rotate", "keys.revoke"]


def act_sign(home: Path, *wanted: tuple[str, str | None], **more: Any) -> snapshot_signing.SignedAnew:
    with closing(Store(home, CLOCK)) as store:
        return snapshot_signing.sign(store, SETTINGS, wanted, actor=ME, **more)


def test_signing_what_is_named_refuses_damage_and_signing_all_tells_of_it(home: Path) -> None:
    with pytest.raises(NotFoundError, match="no key"):
        act_sign(home, ("main", "1"))
    init(home, sign_existing=False)
    path = home / rows(home)[0].path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        act_sign(home, ("main", "1"))
    assert act_sign(home, ("main", None), dry_run=True).signed == ("main@2", "main@3")
    assert states(home) == ["unsigned"] * 3
    done = act_sign(home, ("main", None), reason="at last")
    assert (done.signed, len(done.damaged)) == (("main@2", "main@3"), 1)
    assert act_sign(home, ("main", "2")).signed == ()
    told = [each["details"] for each in ledger.read(home) if each["action"] == "snapshot.sign"]
    assert told == [{"keyid": done.keyid, "signed": ["main@2", "main@3"], "reason": "at last"}]


def test_a_changed_signature_is_noticed_and_replaced(home: Path) -> None:
    keyid = init(home).keyid
    with closing(Store(home, CLOCK)) as store, store.write(actor=ME) as tx:
        row = snapshots.get(tx, "main", 1)
        other = snapshots.get(tx, "main", 2).signatures
        snapshots.put(tx, replace(row, signatures=other))
        snapshots.put(tx, replace(snapshots.get(tx, "main", 3), signatures=({"keyid": "x"},)))
    assert states(home)[0] == f"not what {keyid} signed"
    assert states(home)[2] == "not what anybody signed"
    assert act_sign(home, ("main", None)).signed == ("main@1", "main@3")
    assert states(home) == [keyid] * 3


def test_how_a_key_begins_is_enough_where_only_one_does(home: Path) -> None:
    init(home)
    rotate(home)
    ring = files.read(home)
    assert [keys.find(ring, each.keyid[:4].upper()) for each in ring.keys] == [*ring.keys]
    for word in ("", "0" * 16):
        with pytest.raises(NotFoundError):
            keys.find(ring, word)
    twins = replace(ring, keys=(ring.keys[0], replace(ring.keys[1], keyid=f"{ring.keys[0].keyid[:15]}x")))
    with pytest.raises(UsageError, match="2 keys begin with"):
        keys.find(twins, ring.keys[0].keyid[:15])


def test_a_project_without_keys_has_nothing_to_hand_out(home: Path) -> None:
    with pytest.raises(NotFoundError, match="no key"):
        keys.trust(home)
    with pytest.raises(NotFoundError, match="no key"):
        rotate(home)


def test_the_key_that_signs_can_not_be_revoked(home: Path) -> None:
    keyid = init(home).keyid
    with pytest.raises(RefusedError) as refused:
        act(home, keys.revoke, keyid, reason="x")
    assert refused.value.code == "UPM-E114"
    assert "upm keys rotate" in refused.value.hint


def test_changes_of_keys_need_a_reason_of_a_length_that_is_kept(home: Path) -> None:
    old = init(home).keyid
    for reason in ("", "  ", "x" * 1001):
        with pytest.raises(UsageError, match="reason"):
            rotate(home, reason=reason)
        with pytest.raises(UsageError, match="reason"):
            act(home, keys.revoke, old, reason=reason)


def test_two_rotations_at_once_make_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(home)
    prove = keys.prove

    def slow(where: Path, shots: Any) -> Any:
        monkeypatch.setattr(keys, "prove", prove)
        rotate(home)
        return prove(where, shots)

    monkeypatch.setattr(keys, "prove", slow)
    with pytest.raises(BusyError):
        rotate(home, entropy=Entropy(70))
    assert [action for action, _ in entries(home)] == ["keys.init", "keys.rotate"]


def test_a_dry_run_changes_nothing(home: Path) -> None:
    assert init(home, dry_run=True).signed == ("main@1", "main@2", "main@3")
    assert not (home / "keys/keys.json").exists()
    old = init(home).keyid
    before = (home / "keys/keys.json").read_bytes()
    planned = rotate(home, dry_run=True)
    assert (planned.keyid, planned.before, planned.signed) == (None, old, ("main@1", "main@2", "main@3"))
    assert act(home, keys.prepare, dry_run=True).keyid is None
    rotate(home)
    after = (home / "keys/keys.json").read_bytes()
    assert act(home, keys.revoke, old, reason="x", dry_run=True).keyid == old
    assert (home / "keys/keys.json").read_bytes() == after != before


def test_the_list_tells_what_each_key_is_for_and_what_it_signed(home: Path) -> None:
    init(home)
    act(home, lambda *given, actor: made_up.learn(*given, "main"))
    rotate(home)
    with closing(Store(home, CLOCK)) as store, store.read() as reader:
        listed = key_list.listed(home, reader)
    assert [(one.key.state.value, one.private, one.snapshots, one.only, one.serving) for one in listed] == [
        ("accepted", "gone", 4, 1, ("main@2",)),
        ("signing", "kept", 3, 0, ("main@2",)),
    ]


#: What is broken about the files of keys → the code of the error, what `of_files` says, and how bad that is.
BROKEN: dict[str, tuple[str, str, str]] = {
    "missing": ("UPM-E112", "is missing", "fail"),
    "cut": ("UPM-E112", "no ed25519 private key", "fail"),
    "another": ("UPM-E112", "is the private half of another key", "fail"),
    "a folder": ("UPM-E112", "no ed25519 private key", "fail"),
    "open": ("UPM-E115", "others may read the private key", "fail"),
    "list": ("UPM-E112", "keys.json", "fail"),
}


def break_keys(home: Path, how: str) -> None:
    ring = files.read(home)
    assert ring.signing is not None
    path = files.seed_file(home, ring.signing.keyid)
    if how == "list":
        (home / "keys/keys.json").write_bytes(b'{"keys":[]}')
    elif how == "open":
        path.chmod(0o640)
    elif how == "another":
        path.write_bytes(pem.private_pem(bytes(32)))
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:60])
    else:
        path.unlink()
    if how == "a folder":
        path.mkdir(mode=0o700)


@pytest.mark.parametrize("how", BROKEN)
def test_broken_key_files_are_named_and_stop_no_learning(home: Path, how: str) -> None:
    init(home)
    break_keys(home, how)
    code, said, status = BROKEN[how]
    with pytest.raises((IntegrityError, InvalidError)) as error:
        signer(home)
    assert (error.value.code, bool(error.value.hint)) == (code, True)
    (problem,) = key_health.of_files(home)
    assert (problem.status, said in problem.detail) == (status, True)
    act(home, lambda *given, actor: made_up.learn(*given, "main"))
    assert rows(home)[-1].signatures == ()


@pytest.mark.parametrize("how", ["missing", "cut", "another"])
def test_another_key_takes_over_from_a_broken_one(home: Path, how: str) -> None:
    init(home)
    break_keys(home, how)
    done = rotate(home)
    assert states(home) == [done.keyid] * 3
    assert problems(home) == []


def test_files_that_nobody_listed_and_an_open_folder_are_told(home: Path) -> None:
    init(home)
    rotate(home)
    (left,) = [each.keyid for each in files.read(home).keys if each.state is KeyState.ACCEPTED]
    files.seed_file(home, left).write_bytes(b"")
    (home / "keys/other.pem").write_bytes(b"")
    (home / "keys").chmod(0o755)
    told = [each.detail for each in key_health.of_files(home)]
    assert len(told) == 3
    assert all(any(word in line for line in told) for word in ("mode 0755", "other.pem", "that signs no more"))


@pytest.mark.parametrize(("days", "said"), [(366, "is 366 days old"), (-2, "was made in the future")])
def test_the_age_of_the_key_that_signs_is_told(home: Path, days: int, said: str) -> None:
    init(home)
    with closing(Store(home, CLOCK)) as store, store.read() as reader:
        now_ms = CLOCK.now_ms() + days * 86_400_000
        (problem,) = key_health.of_use(home, reader, is_required=True, now_ms=now_ms)
    assert (problem.status, said in problem.detail) == ("warn", True)


def test_a_project_that_asks_for_signatures_needs_a_key(home: Path) -> None:
    assert problems(home) == ["fail: snapshot_manager.require_signature is on, and there is no key"]
    assert problems(home, is_required=False) == []


def test_taking_a_snapshot_signs_it(home: Path) -> None:
    keyid = init(home).keyid
    with closing(Store(home, CLOCK)) as store:
        with store.write(actor=ME) as tx:
            trainers.put(tx, Trainer(name="other", stream="other"))
        with pytest.raises(NotFoundError):
            take.take(store, CLOCK, replace(SETTINGS, snapshot_manager=SnapshotManagerSettings()), "other", actor=ME)
        made = take.take(store, CLOCK, SETTINGS, "main", actor=ME)
    assert made is not None
    assert made.snapshot.signatures[0]["keyid"] == keyid


def test_a_rotation_that_goes_by_makes_nothing_unsigned(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(home)
    stale = files.read(home)
    new = rotate(home).keyid
    fresh, looks = files.read, []

    def read(where: Path) -> Any:
        looks.append(where)
        return stale if len(looks) == 1 else fresh(where)  # read just before the list was replaced

    monkeypatch.setattr(files, "read", read)
    found = signer(home)
    assert found is not None
    assert (found.keyid, len(looks)) == (new, 2)


class Kill:
    """Kills the process at operation number `at` on the files of keys, the ledger or the live state.

    What was begun is left as it is. What else a commit does is killed in test_store_crashes.
    """

    def __init__(self, at: int) -> None:
        self.left, self.where, self.is_dead = at, "", False

    def __call__(self, operation: str, path: Path) -> None:
        if path.parent.name == "keys" or path.name in ("keys", "ledger.jsonl", "state.duckdb"):
            self.left -= 1
        else:
            return
        if self.left == -1:
            self.where, self.is_dead = f"{operation} {path.name}", True
            raise Killed


def sound(home: Path, *, learns: bool) -> None:
    """Check that the keys can be used, whatever happened: one signs, or none was made yet."""
    ring = files.read(home)
    found = signer(home)
    assert (found is None) == (ring.signing is None)
    known = {each.keyid for each in ring.keys}
    assert private_files(home) <= known
    if found is not None and learns:
        assert all(state == "unsigned" or state in known for state in states(home))
        act(home, lambda *given, actor: made_up.learn(*given, "main"))
        assert states(home)[-1] == found.keyid


def killed_everywhere(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Path], Changed]
) -> Iterator[tuple[Path, str, Changed]]:
    """Yield the project after `verb` was killed at each step and then called again, and where it was killed."""
    remove = fsio.remove_quietly
    for step in range(200):
        home = Path(shutil.copytree(template, tmp_path / f"killed-{step}"))
        kill = Kill(step)
        monkeypatch.setattr(fsio.faults, "before", kill)
        monkeypatch.setattr(fsio, "remove_quietly", lambda path, kill=kill: None if kill.is_dead else remove(path))
        with contextlib.suppress(Killed):
            verb(home)
        monkeypatch.setattr(fsio.faults, "before", None)
        monkeypatch.setattr(fsio, "remove_quietly", remove)
        sound(home, learns="keys.json" in kill.where or ".pem" in kill.where)
        yield home, kill.where, verb(home)
        if not kill.where:
            return
        shutil.rmtree(home)
    pytest.fail("it never came to an end")


def test_a_first_key_that_was_cut_short_is_finished_by_the_next_try(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    entropy = Entropy()

    def go(home: Path) -> Changed:
        return init(home, entropy=entropy)

    for home, where, done in killed_everywhere(template, tmp_path, monkeypatch, go):
        steps.append(where)
        believed = [each.keyid for each in files.read(home).believed]
        assert believed == [done.keyid], where
        assert states(home)[:3] == [done.keyid] * 3, where
        assert entries(home) == [("keys.init", done.keyid)], where
        assert key_health.of_files(home) == [], where
    assert {"rename keys.json", "open ledger.jsonl", "rename state.duckdb"} <= {*steps}
    assert steps.count("rename keys.json") == 2  # listed, then signing


def test_a_rotation_that_was_cut_short_leaves_a_key_that_signs_and_is_finished_by_the_next_try(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Path(shutil.copytree(template, tmp_path / "start"))
    old, entropy = init(start).keyid, Entropy(50)

    def go(home: Path) -> Changed:
        return rotate(home, leaving=old, entropy=entropy)

    steps = []
    for home, where, done in killed_everywhere(start, tmp_path, monkeypatch, go):
        steps.append(where)
        believed = [each.keyid for each in files.read(home).believed]
        assert believed == [old, done.keyid], where
        assert states(home)[:2] == [done.keyid] * 2, where
        assert entries(home) == [("keys.init", old), ("keys.rotate", done.keyid)], where
        assert private_files(home) == {done.keyid}, where
        assert key_health.of_files(home) == [], where
    assert f"unlink {old}.pem" in steps
    assert {"rename keys.json", "rename state.duckdb", "open ledger.jsonl"} <= {*steps}


def test_a_revocation_that_was_cut_short_is_finished_by_the_next_try(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Path(shutil.copytree(template, tmp_path / "start"))
    old, new = init(start).keyid, rotate(start).keyid

    def go(home: Path) -> Changed:
        return act(home, keys.revoke, old, reason="the tape was lost")  # type: ignore[no-any-return]

    for home, where, _ in killed_everywhere(start, tmp_path, monkeypatch, go):
        assert set(keys.trust(home).keys) == {new}, where
        assert entries(home)[-1] == ("keys.revoke", old), where
        assert len(entries(home)) == 3, where
        assert key_health.of_files(home) == [], where


def test_a_signer_does_not_show_its_key() -> None:
    seed = bytes(range(32))
    made = keys.Signer(ed25519.key_id(ed25519.public_of(seed)), seed)
    assert repr(made) == f"{made}" == f"Signer({made.keyid})"
