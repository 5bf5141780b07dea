"""The workers of a scheduler: what comes back, and what is said when it cannot."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import Client
from doubles import local_cluster, refuse

from pipeline.base.errors import UserError
from pipeline.parallel.dask_workers import connected, map_on_workers, reported


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with local_cluster(2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with connected(address) as found:
        yield found


def square(number: int) -> int:
    return number**2


def picky(number: int) -> int:
    if number == 3:
        raise UserError("three.png: is no image")
    if number == 4:
        raise OSError(28, "No space left on device", "four.png")
    return number


def test_every_item_once(client: Client) -> None:
    assert sorted(map_on_workers(client, square, range(20))) == [n**2 for n in range(20)]
    assert sorted(map_on_workers(client, square, [5, 5])) == [25, 25]  # calls, not values
    assert list(map_on_workers(client, square, [])) == []


def test_a_user_error_names_the_worker(client: Client) -> None:
    with pytest.raises(UserError, match=r"^worker inproc://.*: three\.png: is no image$"):
        list(map_on_workers(client, picky, [1, 2, 3]))


def test_other_errors_come_as_they_are(client: Client) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        list(map_on_workers(client, picky, [4]))
    assert (caught.value.errno, caught.value.filename) == (28, "four.png")


BEGUN: list[int] = []
ENDED: list[int] = []
GIVEN_UP = threading.Event()


def patient(number: int) -> int:
    """The third fails; those after it go on when the rest has been given up."""
    BEGUN.append(number)
    if number == 2:
        raise UserError("two")
    assert number < 2 or GIVEN_UP.wait(60)
    ENDED.append(number)
    return number


def test_what_has_not_begun_is_given_up_and_the_rest_ends(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = client.cancel

    def noted(futures: object) -> None:
        cancel(futures)  # type: ignore[no-untyped-call]
        GIVEN_UP.set()

    monkeypatch.setattr(client, "cancel", noted)
    with pytest.raises(UserError, match="two"):
        list(map_on_workers(client, patient, range(100)))
    assert 3 <= len(BEGUN) < 20
    assert sorted(BEGUN) == sorted([*ENDED, 2])
    assert not any(client.processing().values())  # type: ignore[no-untyped-call]


def die(_: int) -> None:
    os._exit(1)


def test_workers_that_die_are_one_sentence() -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_cluster(1, processes=True) as cluster,
        connected(cluster.scheduler_address) as client,
        pytest.raises(UserError, match="dask workers died, perhaps for lack of memory"),
    ):
        list(map_on_workers(client, die, [1]))


def test_no_workers_yet_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pipeline.parallel.dask_workers")
    with local_cluster(0) as cluster, connected(cluster.scheduler_address):
        pass
    assert f"scheduler at {cluster.scheduler_address} has no workers yet" in caplog.text


def test_workers_are_no_warning(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pipeline.parallel.dask_workers")
    with connected(address):
        pass
    assert "pipeline.parallel.dask_workers" not in {record.name for record in caplog.records}


def test_no_scheduler_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.dask_workers.Client", refuse)
    sentence = "no dask scheduler answers at tcp://x:1: Timed out trying to connect"
    with pytest.raises(UserError, match=sentence), connected("tcp://x:1"):
        pass


# --- the performance report


@pytest.mark.parametrize("own", [True, False])
def test_a_report_is_one_file(own: bool, address: str, tmp_path: Path) -> None:
    """Of threads in this process, or of a scheduler that is there; no script is loaded for it."""
    path = tmp_path / "new" / "report.html"
    with dask.config.set(num_workers=2), reported(None if own else address, path) as client:
        assert client.submit(square, 7).result() == 49
        threads = client.nthreads().values()  # type: ignore[no-untyped-call]
    assert list(threads) == ([2] if own else [1, 1])
    text = path.read_text(encoding="utf-8")
    assert "square" in text and "Task Stream" in text
    assert "cdn.bokeh.org" not in text
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_failed_run_leaves_no_report(address: str, tmp_path: Path) -> None:
    def fail() -> None:
        with reported(address, tmp_path / "report.html"):
            raise UserError("three.png: is no image")

    with pytest.raises(UserError, match="three"):
        fail()
    assert not list(tmp_path.iterdir())


def test_without_bokeh_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.dask_workers.find_spec", lambda _: None)
    with (
        pytest.raises(UserError, match=r"report\.html: .* needs bokeh; .* extra: usrdu\[report\]"),
        reported(None, tmp_path / "report.html"),
    ):
        pass
