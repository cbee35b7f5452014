"""Where each setting comes from: flag, then variable, then upm.yaml, then default.

Everything that is wrong anywhere is reported together, each with its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from upm_cli.config.checks import Checker
from upm_cli.config.nodes import MAX_BYTES, Malformed, Node, parse
from upm_cli.config.problems import ConfigError, Place, Problem
from upm_cli.config.rules import check_rules
from upm_cli.config.schema import SECTIONS, SPECS, Settings
from upm_cli.errors import NotFoundError
from upm_cli.nearest import did_you_mean

FILE_NAME = "upm.yaml"
_FLAG_VARIABLES = ("UPM_FEATURES_UNIFIED_MODEL", "TL_FEATURES_UNIFIED_MODEL")  # the first one wins
_FLAG_PATH = "features.unified_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from. `kind`: default, file, env or flag; `where` says it for people."""

    kind: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings in force. `origins` has one entry for each path in SPECS."""

    settings: Settings
    origins: Mapping[str, Origin]


@dataclass
class _Layers:
    """Values found so far; a later layer overrides an earlier one."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, path: str, node: Node, kind: str, where: str) -> None:
        checker = Checker(lenient=kind != "file")
        right, value = checker.value(SPECS[path], node)
        self.problems += checker.problems
        if right:
            self.values[path] = value
            self.origins[path] = Origin(kind=kind, where=where)
            self.places[path] = node.place

    def add(self, code: str, message: str, place: Place, key: str = "", fix: str = "") -> None:
        self.problems.append(Problem(code=code, message=message, place=place, key=key, fix=fix))


def load(path: Path | None, *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Loaded:
    """Read the configuration file `path` (None: no file) with variables and `KEY=VALUE` overrides on top.

    Raises NotFoundError when the file is missing, ConfigError with every problem when something is not valid.
    """
    layers = _Layers()
    text = "" if path is None else _read(path)
    if path is not None:
        _read_file(layers, text, path.name)
    _read_variables(layers, environ or {})
    _read_overrides(layers, overrides)
    settings = _build(layers)
    if not layers.problems:
        layers.problems += check_rules(settings, layers.places)
    if layers.problems:
        layers.problems.sort(key=lambda problem: problem.place.line or MAX_BYTES)
        raise ConfigError(layers.problems, str(path) if path else "variables and flags", text.splitlines())
    default = Origin(kind="default", where="default")
    return Loaded(settings=settings, origins={one: layers.origins.get(one, default) for one in SPECS})


def _read(path: Path) -> str:
    place = Place(where=path.name)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise NotFoundError(f"no configuration file {path}", hint="upm init", code="UPM-E048") from exc
    except OSError as exc:
        problem = Problem(code="UPM-C001", message=f"can't be read: {exc.strerror}", place=place)
        raise ConfigError([problem], str(path)) from exc
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        message = f"byte {exc.start} is not UTF-8 text"
        problem = Problem(code="UPM-C001", message=message, place=Place(where=path.name, line=line, column=1))
        raise ConfigError([problem], str(path)) from exc


def _read_file(layers: _Layers, text: str, name: str) -> None:
    try:
        root, problems = parse(text, name)
    except Malformed as exc:
        layers.problems.append(exc.problem)
        return
    layers.problems += problems
    if root is None:
        return
    if not isinstance(root.value, dict):
        layers.add("UPM-C010", "the file must be a mapping of sections", root.place, fix="begin with drift_monitor:")
        return
    for section, (place, node) in root.value.items():
        if section not in SECTIONS:
            layers.add("UPM-C003", f"unknown key {section!r}", place, section, _hint_section(section))
        elif node.value is None:
            continue
        elif not isinstance(node.value, dict):
            layers.add("UPM-C010", f"{section} must be a mapping of settings", node.place, section)
        else:
            _read_section(layers, section, node, name)


def _read_section(layers: _Layers, section: str, node: Node, name: str) -> None:
    for key, (place, value) in node.value.items():
        path = f"{section}.{key}"
        if path in SPECS:
            layers.take(path, value, "file", f"{name}:{place.line}")
        else:
            checker = Checker()
            checker.unknown(key, place, section, [spec.key for spec in _settings_of(section)])
            layers.problems += checker.problems


def _hint_section(word: str) -> str:
    """Return a hint for a key that is no section: the nearest section, or the section it belongs into."""
    homes = [path for path, spec in SPECS.items() if spec.key == word]
    return f"it belongs under {homes[0].partition('.')[0]}:" if homes else did_you_mean(word, SECTIONS)


def _settings_of(section: str) -> Iterable[Any]:
    return (spec for path, spec in SPECS.items() if path.startswith(f"{section}."))


def _read_variables(layers: _Layers, environ: Mapping[str, str]) -> None:
    flag = next((name for name in _FLAG_VARIABLES if name in environ), None)
    if flag is not None:
        _take_text(layers, _FLAG_PATH, environ[flag], "env", flag)
    for name in sorted(environ):
        if not name.startswith("UPM_") or "__" not in name:
            continue
        path = name.removeprefix("UPM_").lower().replace("__", ".", 1)
        if path in SPECS:
            _take_text(layers, path, environ[name], "env", name)
        else:
            known = [f"UPM_{known.upper().replace('.', '__')}" for known in SPECS]
            layers.add(
                "UPM-C020", f"variable {name} names no setting", Place(where=name), path, did_you_mean(name, known, 0.8)
            )


def _read_overrides(layers: _Layers, overrides: Sequence[str]) -> None:
    for text in overrides:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals:
            layers.add("UPM-C021", f"--set {text!r} has no '='", Place(where="--set"), fix="write --set KEY=VALUE")
        elif path not in SPECS:
            fix = did_you_mean(path, list(SPECS)) or "upm config show lists them"
            layers.add("UPM-C021", f"--set: no setting {path!r}", Place(where="--set"), path, fix)
        else:
            _take_text(layers, path, value, "flag", f"--set {path}")


def _take_text(layers: _Layers, path: str, text: str, kind: str, where: str) -> None:
    """Take a value written in a variable or flag: one YAML value."""
    try:
        root, problems = parse(text, where)
    except Malformed as exc:
        layers.add(exc.problem.code, exc.problem.message, Place(where=where), path)
        return
    layers.problems += problems
    node = root or Node(None, Place(where=where))
    layers.take(path, Node(node.value, Place(where=where)), kind, where)


def _build(layers: _Layers) -> Settings:
    sections = {}
    for one in fields(Settings):
        prefix = f"{one.name}."
        given = {path.removeprefix(prefix): v for path, v in layers.values.items() if path.startswith(prefix)}
        sections[one.name] = type(getattr(Settings(), one.name))(**given)
    return Settings(**sections)
