"""Every key of the dashboard in one place: what it does, what it is called, and the command that does the same."""

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. `words` is the command after `upm` that does the same, {} the trainer; `changes`: it asks first."""

    key: str  # as Textual names it
    action: str
    label: str  # one or two words, for the line at the bottom
    does: str  # for the help
    words: str = ""
    shown: str = ""  # how people read the key; empty: as it is named
    changes: bool = False

    @property
    def name(self) -> str:
        return self.shown or self.key

    def binding(self) -> Binding:
        return Binding(self.key, self.action, self.label, show=False)


def _acting(key: str, action: str, label: str, does: str, words: str) -> Key:
    """Return a key that changes something."""
    return Key(key=key, action=action, label=label, does=does, words=words, changes=True)


SCREENS: Final = (
    Key(key="1", action="go('overview')", label="Overview", does="every trainer, worst first", words="status"),
    Key(key="2", action="go('snapshots')", label="Snapshots", does="its snapshots", words="snapshot list {}"),
    Key(key="3", action="go('drift')", label="Drift", does="drift and evidence", words="drift-report {}"),
    Key(key="4", action="go('rollout')", label="Rollout", does="stages, gates, tenants", words="rollout status {}"),
    Key(key="5", action="go('agents')", label="Agents", does="who follows, and how far", words="sync status"),
    Key(key="6", action="go('events')", label="Events", does="events and the ledger, live", words="events"),
    Key(key="7", action="go('workers')", label="Workers", does="processes", words="status"),
)
ACTIONS: Final = (
    _acting("s", "snapshot", "Snapshot", "take a snapshot now", "snapshot create {}"),
    _acting("a", "activate", "Activate", "activate this, or latest", "activate {} VERSION"),
    _acting("b", "rollback", "Roll back", "to the last known good", "rollback {}"),
    _acting("p", "pause", "Pause", "pause it, or resume", "pause {}"),
    _acting("P", "promote", "Promote", "the rollout's next step", "rollout promote {}"),
    _acting("h", "hold", "Hold", "hold the rollout, or go on", "rollout pause {}"),
    _acting("x", "abort", "Abort", "give the rollout up", "rollout abort {}"),
    _acting("n", "begin", "Begin", "begin a rollout in shadow", "rollout start {}"),
    _acting("u", "release", "Release", "release from quarantine", "snapshot release {} VERSION"),
    _acting("i", "pin", "Pin", "keep a snapshot for good", "snapshot pin {} VERSION"),
)
FLEET: Final = (  # among the agents
    _acting("r", "retry", "Retry", "deliver now what was given up", "sync retry"),
)
SHOTS: Final = (  # among the snapshots
    Key(key="d", action="compare", label="Diff", does="compare with the marked one", words="snapshot diff {} A B"),
    Key(key="m", action="mark", label="Mark", does="what others are compared with"),
    Key(key="v", action="verify(False)", label="Verify", does="prove its bytes", words="snapshot verify {} VERSION"),
    Key(key="V", action="verify(True)", label="Verify all", does="prove all bytes", words="snapshot verify {} --all"),
)
MOVING: Final = (
    Key(key="j,down", action="row(1)", label="Down", does="one row down"),
    Key(key="k,up", action="row(-1)", label="Up", does="one row up"),
    Key(key="g,home", action="row_end(-1)", label="Top", does="to the first row"),
    Key(key="G,end", action="row_end(1)", label="Bottom", does="to the last row"),
    Key(key="pagedown,ctrl+f", action="row_page(1)", label="Page down", does="a page down"),
    Key(key="pageup,ctrl+b", action="row_page(-1)", label="Page up", does="a page up"),
    Key(key="enter", action="into", label="Into it", does="into what the cursor is on"),
)
LOOKING: Final = (
    Key(key="slash", shown="/", action="filter", label="Filter", does="regex  !not  ~fuzzy  key=value"),
    Key(key="colon", shown=":", action="goto", label="Go to", does=":drift main  :agents tenant=eu  :at 2h"),
    Key(
        key="left_square_bracket",
        shown="[",
        action="step(-1)",
        label="Back",
        does="back to what was recorded before",
        words="at TIME {}",
    ),
    Key(key="right_square_bracket", shown="]", action="step(1)", label="Forward", does="forward in time"),
    Key(key="backslash", shown="\\", action="now", label="Now", does="back to now"),
    Key(key="space", action="freeze", label="Freeze", does="freeze the screen, or let it go on"),
    Key(key="less_than_sign", shown="<", action="trainer(-1)", label="Trainer", does="the trainer before"),
    Key(key="greater_than_sign", shown=">", action="trainer(1)", label="Trainer", does="the next trainer"),
    Key(key="tab", action="pane(1)", label="Pane", does="the next pane"),
    Key(key="shift+tab", action="pane(-1)", label="Pane", does="the pane before"),
    Key(key="o", action="sort", label="Sort", does="sort by the next column"),
    Key(key="w", action="wide", label="Wide", does="all columns, or those that fit"),
    Key(key="y", action="copy", label="Copy", does="copy the command that prints this"),
    Key(key="t", action="theme", label="Theme", does="choose the colours"),
    Key(key="ctrl+s", shown="^s", action="picture", label="Picture", does="save the screen as SVG"),
    Key(key="ctrl+p", shown="^p", action="command_palette", label="Commands", does="every command of upm"),
    Key(key="question_mark", shown="?", action="help", label="Help", does="this help"),
    Key(key="escape", shown="Esc", action="up", label="Up", does="take the filter away, then one level up"),
    Key(key="q", action="quit", label="Quit", does="quit"),
)
EVERY: Final = {each.key: each for each in (*SCREENS, *ACTIONS, *SHOTS, *FLEET, *MOVING, *LOOKING)}


def bindings() -> list[Binding]:
    """Return the bindings of the whole dashboard."""
    return [key.binding() for key in EVERY.values()]
