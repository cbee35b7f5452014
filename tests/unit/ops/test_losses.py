"""One word for each loss, wherever it is read from."""

from upm_cli.core.records import Trainer
from upm_cli.ops import losses


def test_the_loss_of_a_trainer_is_the_mean_over_its_life_and_not_of_its_last_batch() -> None:
    trainer = Trainer(
        name="main", stream="main", trained=4, loss_sum=2.0, last_loss=0.9, metrics={"loss": {"recent": 0.7}}
    )
    assert losses.of_trainer(trainer) == {"progressive": 0.5, "recent": 0.7, "last": 0.9}
    assert losses.of_trainer(Trainer(name="main", stream="main")) == {"progressive": None, "recent": None, "last": None}


def test_metrics_of_old_snapshots_have_a_loss_too() -> None:
    assert losses.of_metrics({"loss": {"progressive": 0.25, "recent": 0.5}}) == {"progressive": 0.25, "recent": 0.5}
    assert losses.of_metrics({"loss": 1}) == {"progressive": 1.0, "recent": None}
    assert losses.of_metrics({}) == {"progressive": None, "recent": None}


def test_the_words_are_those_of_the_glossary() -> None:
    assert losses.in_words({"progressive": 0.5463, "recent": 0.25}) == "loss 0.5463, recent loss 0.2500"
    assert losses.in_words({"progressive": 0.5, "recent": None}, digits=3) == "loss 0.500"
    assert losses.in_words({"progressive": None, "recent": None}) == "loss unknown"
