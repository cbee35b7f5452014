from dataclasses import fields
from pathlib import Path

import pytest

from upm_cli.config.load import load
from upm_cli.config.problems import ConfigError
from upm_cli.config.schema import SPECS, DriftMonitorSettings, Settings, TrainerSettings
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.learning.spec import LearnerSpec
from upm_cli.core.replay import ReplayPolicy
from upm_cli.errors import InvalidError, NotFoundError
from upm_cli.exit_codes import for_error


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "upm.yaml"


def problems(path: Path | None, **more: object) -> list[tuple[str, str, str]]:
    """Return (place, code, key) of everything that is wrong."""
    with pytest.raises(ConfigError) as caught:
        load(path, **more)  # type: ignore[arg-type]
    return [(str(problem.place), problem.code, problem.key) for problem in caught.value.problems]


def test_an_empty_file_gives_the_defaults_of_the_seed(config: Path) -> None:
    config.write_text("")
    settings = load(config).settings
    assert settings == Settings()
    assert settings.trainer_worker.snapshot_interval == 1000
    assert settings.trainer_worker.batch_size == 32
    assert settings.trainer_worker.learning_rate is None
    assert settings.replay_buffer.max_buffer_size == 1000
    assert settings.replay_buffer.release_delay_ms == 5000
    assert settings.replay_buffer.late_window_tolerance_ms == 60_000
    assert settings.snapshot_manager.retention_days == 30
    assert settings.drift_monitor == DriftMonitorSettings(
        window_duration_ms=3_600_000, drift_threshold=0.2, sample_size=1000, quarantine_enabled=True, score="auto"
    )
    assert settings.adapter_sync.sync_batch_size == 100
    assert settings.adapter_sync.sync_timeout_ms == 30_000
    assert settings.adapter_sync.max_retries == 3
    assert settings.adapter_sync.retry_backoff_ms == 1000
    assert settings.supervisor.default_trainers == (TrainerSettings(name="default", mode="shadow", tenant_id=None),)
    assert settings.policy.min_shadow_hours == 336


def test_defaults_are_inside_their_own_bounds() -> None:
    for path, spec in SPECS.items():
        if spec.kind in ("int", "float") and spec.default is not None:
            assert spec.allows(spec.default), path
        if spec.choices:
            assert spec.default in spec.choices, path


def test_every_setting_has_one_line_of_documentation() -> None:
    for path, spec in SPECS.items():
        assert spec.doc.endswith("."), path
        assert "\n" not in spec.doc, path


def test_flag_beats_variable_beats_file_beats_default(config: Path) -> None:
    key, variable = "drift_monitor.drift_threshold", "UPM_DRIFT_MONITOR__DRIFT_THRESHOLD"
    config.write_text("# one\ndrift_monitor:\n  drift_threshold: 0.3\n")
    layers = [
        (load(None), 0.2, ("default", "default")),
        (load(config), 0.3, ("file", "upm.yaml:3")),
        (load(config, environ={variable: "0.4"}), 0.4, ("env", variable)),
        (load(config, environ={variable: "0.4"}, overrides=[f"{key}=0.5"]), 0.5, ("flag", f"--set {key}")),
        (load(config, overrides=[f"{key}=0.5", f"{key}=0.6"]), 0.6, ("flag", f"--set {key}")),
    ]
    for loaded, value, origin in layers:
        assert loaded.settings.value(key) == value
        assert (loaded.origins[key].kind, loaded.origins[key].where) == origin


@pytest.mark.parametrize("word", ["false", "0", "off", "no", "False"])
@pytest.mark.parametrize("name", ["UPM_FEATURES_UNIFIED_MODEL", "TL_FEATURES_UNIFIED_MODEL"])
def test_the_feature_flag_has_variables_of_its_own(config: Path, name: str, word: str) -> None:
    config.write_text("features: {unified_model: true}\n")
    loaded = load(config, environ={name: word})
    assert not loaded.settings.features.unified_model
    assert loaded.origins["features.unified_model"].where == name


def test_the_newer_variable_of_the_feature_flag_wins() -> None:
    environ = {"TL_FEATURES_UNIFIED_MODEL": "false", "UPM_FEATURES_UNIFIED_MODEL": "true"}
    assert load(None, environ=environ).settings.features.unified_model


def test_all_problems_are_told_at_once_with_their_places(config: Path) -> None:
    config.write_text(
        "drift_monitor:\n"
        "  drift_threshold: 0.2x\n"
        "  on_breech: rollback\n"
        "sample_size: 3\n"
        "trainer_worker: {batch_size: 0, learning_rate: .inf}\n"
        "snapshot_manager:\n"
        "  compression: ztsd\n"
        "  retention_days: 1.5\n"
        "features:\n"
        "  unified_model: yes\n"
        "supervisor:\n"
        "  default_trainers:\n"
        "    - name: a\n"
        "      mode: shadw\n"
        "    - {name: a, tenant_id: 42}\n"
        "    - {mode: shadow}\n"
        "    - Main\n"
        "    - {name: Main, sources: [1]}\n"
        "policy: [1]\n"
    )
    found = problems(config, overrides=["bits", "learner.bit=3"], environ={"UPM_LERNER__BITS": "3", "UPM_HOME": "x"})
    assert found == [
        ("upm.yaml:2:20", "UPM-C011", "drift_monitor.drift_threshold"),
        ("upm.yaml:3:3", "UPM-C003", "drift_monitor.on_breech"),
        ("upm.yaml:4:1", "UPM-C003", "sample_size"),
        ("upm.yaml:5:30", "UPM-C012", "trainer_worker.batch_size"),
        ("upm.yaml:5:48", "UPM-C011", "trainer_worker.learning_rate"),
        ("upm.yaml:7:16", "UPM-C013", "snapshot_manager.compression"),
        ("upm.yaml:8:19", "UPM-C011", "snapshot_manager.retention_days"),
        ("upm.yaml:10:18", "UPM-C011", "features.unified_model"),
        ("upm.yaml:14:13", "UPM-C013", "supervisor.default_trainers[0].mode"),
        ("upm.yaml:15:28", "UPM-C011", "supervisor.default_trainers[1].tenant_id"),
        ("upm.yaml:15:7", "UPM-C015", "supervisor.default_trainers"),
        ("upm.yaml:16:7", "UPM-C014", "supervisor.default_trainers[2]"),
        ("upm.yaml:17:7", "UPM-C011", "supervisor.default_trainers[3]"),
        ("upm.yaml:18:30", "UPM-C011", "supervisor.default_trainers[4].sources"),
        ("upm.yaml:18:14", "UPM-C014", "supervisor.default_trainers[4].name"),
        ("upm.yaml:19:9", "UPM-C010", "policy"),
        ("UPM_LERNER__BITS", "UPM-C020", "lerner.bits"),
        ("--set", "UPM-C021", ""),
        ("--set", "UPM-C021", "learner.bit"),
    ]


def test_a_problem_shows_its_line_a_caret_and_the_nearest_key(config: Path) -> None:
    config.write_text("drift_monitor:\n  drift_treshold: 0.3\n")
    with pytest.raises(ConfigError) as caught:
        load(config)
    assert caught.value.message.splitlines()[1:] == [
        "upm.yaml:2:3  error[UPM-C003]  unknown key 'drift_treshold'  did you mean 'drift_threshold'?",
        "    2 |   drift_treshold: 0.3",
        "          ^^^^^^^^^^^^^^",
    ]
    assert for_error(caught.value) == 3


def test_a_setting_under_no_section_is_told_where_it_belongs(config: Path) -> None:
    config.write_text("batch_size: 3\n")
    with pytest.raises(ConfigError, match="it belongs under trainer_worker:"):
        load(config)


def test_numbers_of_the_other_kind_are_taken_when_nothing_is_lost(config: Path) -> None:
    config.write_text("drift_monitor: {sample_size: 1e3, drift_threshold: 1}\n")
    monitor = load(config).settings.drift_monitor
    assert (monitor.sample_size, type(monitor.sample_size)) == (1000, int)
    assert (monitor.drift_threshold, type(monitor.drift_threshold)) == (1.0, float)


def test_true_is_no_number_and_null_is_no_value(config: Path) -> None:
    config.write_text("trainer_worker: {batch_size: true, snapshot_interval: null, learning_rate: null}\n")
    assert [code for _, code, _ in problems(config)] == ["UPM-C011", "UPM-C011"]


def test_lists_and_mappings_can_be_given_as_flags_and_variables() -> None:
    loaded = load(
        None,
        overrides=["policy.canary_tenants=acme, globex", "policy.actors={alice: admin}"],
        environ={"UPM_SUPERVISOR__DEFAULT_TRAINERS": "[{name: eu, sources: [a.jsonl]}]"},
    ).settings
    assert loaded.policy.canary_tenants == ("acme", "globex")
    assert loaded.policy.actors == {"alice": "admin"}
    assert loaded.supervisor.default_trainers == (TrainerSettings(name="eu", sources=("a.jsonl",)),)


@pytest.mark.parametrize(
    ("learner", "key"),
    [
        ("{task: regression, loss: logistic}", "learner.loss"),
        ("{task: binary, loss: huber}", "learner.loss"),
        ("{optimizer: adam, momentum: 0.9}", "learner.momentum"),
        ("{optimizer: sgd, l1: 0.1}", "learner.l1"),
    ],
)
def test_settings_that_do_nothing_together_are_refused(config: Path, learner: str, key: str) -> None:
    config.write_text(f"learner: {learner}\n")
    assert [(code, found) for _, code, found in problems(config)] == [("UPM-C030", key)]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("rollout: {stages: [shadow, canary 5]}", "rollout.stages", "'canary 5' is no stage"),
        ("rollout: {stages: [canary 5%, global 100%]}", "rollout.stages", "first stage must be shadow"),
        ("rollout: {stages: [shadow, canary 5%]}", "rollout.stages", "last stage must be global"),
        ("rollout: {stages: [shadow, canary 9%, canary 5%, global 100%]}", "rollout.stages", "must grow"),
        ("evidence: {margin: 0.2}", "evidence.margin", "smaller than clip"),
        ("evidence: {false_alarms: never}", "evidence.false_alarms", "no budget of false alarms"),
    ],
)
def test_a_ramp_that_leads_nowhere_is_refused(config: Path, text: str, key: str, said: str) -> None:
    config.write_text(f"{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(config)
    (problem,) = caught.value.problems
    assert (problem.code, problem.key) == ("UPM-C030", key)
    assert said in problem.message


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        load(tmp_path / "upm.yaml")
    assert caught.value.hint == "upm init"


@pytest.mark.parametrize("data", [b"a: \xff\xfe\n", b"\x00\x01\x02", "a: 1\n".encode("utf-16")])
def test_bytes_that_are_no_text_are_refused(config: Path, data: bytes) -> None:
    config.write_bytes(data)
    assert {code for _, code, _ in problems(config)} <= {"UPM-C001", "UPM-C002"}


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    assert problems(tmp_path) == [(tmp_path.name, "UPM-C001", "")]


def test_a_byte_order_mark_is_no_problem(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbfdrift_monitor:\r\n  sample_size: 5\r\n")
    assert load(config).settings.drift_monitor.sample_size == 5


def test_the_digest_changes_with_what_is_learned_and_with_nothing_else() -> None:
    def digest(*overrides: str) -> str:
        return load(None, overrides=overrides).settings.digest()

    base = digest()
    for same in ("drift_monitor.sample_size=5", "snapshot_manager.compression=none", "features.unified_model=false"):
        assert digest(same) == base
    others = {
        digest(other)
        for other in ("learner.bits=19", "trainer_worker.batch_size=16", "trainer_worker.learning_rate=0.1")
    }
    assert len(others | {base}) == 4


LEARNERS = [
    {"task": task, "loss": loss}
    for task in ("auto", "binary", "multiclass", "regression")
    for loss in ("auto", "logistic", "softmax", "squared", "huber")
] + [
    {"optimizer": optimizer, name: value}
    for optimizer in ("sgd", "adagrad", "adam", "ftrl")
    for name, value in (
        ("momentum", 0.5),
        ("momentum", 1),
        ("weight_decay", 0.1),
        ("l1", 0.1),
        ("l2", 0.1),
        ("schedule", "cosine"),
        ("warmup_windows", 10),
        ("clip", 1e12),
        ("bits", 29),
        ("learning_rate", 0),
        ("max_classes", 1),
    )
]


@pytest.mark.parametrize("given", LEARNERS, ids=str)
def test_the_configuration_refuses_exactly_what_the_learner_refuses(given: dict[str, object]) -> None:
    try:
        LearnerSpec(**given)  # type: ignore[arg-type]
        learner_takes_it = True
    except InvalidError:
        learner_takes_it = False
    homes = {"learning_rate": "trainer_worker", "batch_size": "trainer_worker"}
    overrides = [f"{homes.get(name, 'learner')}.{name}={value}" for name, value in given.items()]
    try:
        load(None, overrides=overrides)
        loader_takes_it = True
    except ConfigError:
        loader_takes_it = False
    assert loader_takes_it == learner_takes_it


def test_defaults_are_those_of_the_core() -> None:
    settings = Settings()
    spec = LearnerSpec()
    for one in fields(settings.learner):
        assert getattr(settings.learner, one.name) == getattr(spec, one.name), one.name
    missing = {one.name for one in fields(LearnerSpec)} - {one.name for one in fields(settings.learner)}
    assert missing == {"learning_rate", "batch_size", "outputs"}
    assert (settings.trainer_worker.learning_rate, settings.trainer_worker.batch_size) == (None, spec.batch_size)
    for section, policy in ((settings.replay_buffer, ReplayPolicy()), (settings.drift_monitor, DriftPolicy())):
        for one in fields(section):
            assert getattr(section, one.name) == getattr(policy, one.name), one.name
