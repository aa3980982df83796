"""The memory that a node's workers share, between real processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.vault.node_memory import NodeMemory

RunWorkers = Callable[[str], dict[str, Any]]


@pytest.fixture
def memory() -> Iterator[NodeMemory]:
    memory = NodeMemory()
    yield memory
    memory.close()


def test_it_is_empty_at_first_and_then_what_was_written_last(memory: NodeMemory) -> None:
    with memory.held(1.0):
        assert memory.read() == b""
        memory.write(b"a longer text")
        memory.write(b"short")
        assert memory.read() == b"short"


def test_it_takes_as_much_as_it_says_and_no_more(memory: NodeMemory) -> None:
    with memory.held(1.0):
        memory.write(b"x" * 65_536)
        with pytest.raises(ValueError, match="65537 bytes are more than 65536"):
            memory.write(b"y" * 65_537)
        assert memory.read() == b"x" * 65_536


def test_the_threads_of_one_process_have_it_one_after_the_other(memory: NodeMemory) -> None:
    """A POSIX lock alone would let them all in."""
    refused: list[bool] = []

    def come() -> None:
        try:
            with memory.held(0.05):
                refused.append(False)
        except TimeoutError:
            refused.append(True)

    with memory.held(1.0):
        thread = threading.Thread(target=come)
        thread.start()
        thread.join(10)
    assert refused == [True]
    with memory.held(0.0):
        pass


def test_it_is_let_go_of_when_the_block_raises(memory: NodeMemory) -> None:
    with pytest.raises(KeyError), memory.held(1.0):
        raise KeyError
    with memory.held(0.0):
        pass


def test_a_master_shares_it_with_all_its_workers_and_a_process_without_a_master_has_its_own(
    run_workers: RunWorkers,
) -> None:
    assert run_workers("shared_by_the_master") == {"alone": True, "same": True, "found": "from a worker"}


def test_another_process_that_has_it_is_waited_for_as_long_as_one_likes(run_workers: RunWorkers) -> None:
    assert run_workers("taken") == {"got_it": False, "afterwards": True}


def test_it_lies_on_no_disk_and_in_no_environment_and_goes_to_no_program_that_is_started(
    run_workers: RunWorkers,
) -> None:
    found = run_workers("nowhere_else")
    assert found["memory"] == ["/memfd:vocero (deleted)"]
    assert not found["inherited"]
    assert not found["environment"]
    assert not found["wrapping token kept"]
    assert found["files"] == []
