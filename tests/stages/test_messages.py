"""Messages of the engines, as a command shows them."""

import logging
import sys

import click
import pytest
from click.testing import CliRunner
from tqdm import tqdm

from stages.messages import AboveBars
from stages.options import plain_errors

ENGINE = logging.getLogger("pipeline.some.engine")
OTHER = logging.getLogger("some.library")


@click.command()
@plain_errors
def command() -> None:
    """Work that has something to say."""
    ENGINE.info("it goes on at step %d", 3)
    ENGINE.warning("the alpha channel is dropped")
    OTHER.info("nobody wants to know")
    OTHER.warning("an old file")
    click.echo("wrote it")


def test_messages_are_on_stderr_and_results_on_stdout() -> None:
    for _ in range(2):  # a second command of a process says everything once, too
        result = CliRunner().invoke(command)
        assert result.stdout == "wrote it\n"
        assert result.stderr.splitlines() == [
            "it goes on at step 3",
            "WARNING: the alpha channel is dropped",
            "WARNING: an old file",
        ]


def test_nothing_stays_when_the_command_ends() -> None:
    level, handlers = logging.getLogger("pipeline").level, list(logging.getLogger().handlers)
    CliRunner().invoke(command)
    assert logging.getLogger("pipeline").level == level
    assert logging.getLogger().handlers == handlers


def test_a_message_stands_above_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with tqdm(total=2, desc="work", file=sys.stderr, mininterval=0) as bar:
        bar.update()
        AboveBars().emit(logging.makeLogRecord({"msg": "half way", "levelno": logging.INFO}))
        bar.update()
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert "half way" in lines  # on a line of its own
    assert "work: 100%" in lines[-1]
