"""What processes agree on, asked in real ones; and how a process knows what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from multibox.errors import TrainingError
from multibox.train.distributed import Processes, is_launched, is_main_process, shard

NUM_PROCESSES = 3


def answers_of(rank: int, processes: Processes) -> dict[str, Any]:
    """What a process hears that has a view of its own on everything."""
    try:
        processes.check_same_step(7 if rank < 2 else 8)
        refusal = ""
    except TrainingError as error:
        refusal = str(error)
    return {
        "agree": processes.agree(10.5 + rank, must_stop=rank == 0),
        "agree_on": [processes.agree_on(rank == 0), processes.agree_on(rank == 1)],
        "mean": processes.mean(torch.tensor([1.0 * rank, 6.0])).tolist(),
        "from_main": processes.from_main({"rank": rank, "none": None}),
        "gather": processes.gather(shard("abcdefgh", rank, NUM_PROCESSES)),
        "refusal": refusal,
        "is_main": processes.is_main,
    }


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    address = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=NUM_PROCESSES)
    answers = answers_of(rank, Processes.of(rank, NUM_PROCESSES, torch.device("cpu")))
    Path(folder, f"{rank}.json").write_text(json.dumps(answers))
    # With PyTorch 2.6, one that leaves while others are still there can wait for ever.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of three processes heard."""
    folder: Path = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, args=(str(folder),), nprocs=NUM_PROCESSES)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(NUM_PROCESSES)]


def test_all_take_the_main_process_view_of_time_and_signals(answers):
    assert [each["agree"] for each in answers] == [[10.5, True]] * 3
    assert [each["agree_on"] for each in answers] == [[True, False]] * 3


def test_all_have_the_mean_of_what_they_have(answers):
    assert [each["mean"] for each in answers] == [[1.0, 6.0]] * 3  # (0 + 1 + 2) / 3


def test_all_get_what_the_main_process_has(answers):
    assert [each["from_main"] for each in answers] == [{"rank": 0, "none": None}] * 3


def test_the_main_process_alone_gets_the_whole_in_its_order(answers):
    assert [each["gather"] for each in answers] == [list("abcdefgh"), None, None]
    assert [each["is_main"] for each in answers] == [True, False, False]


def test_a_process_that_would_go_on_from_another_step_refuses(answers):
    assert [bool(each["refusal"]) for each in answers] == [False, False, True]
    assert "Process 2 would go on from step 8, the main one from step 7." in answers[2]["refusal"]


def test_one_process_alone_agrees_with_itself_without_any_group():
    alone = Processes()
    assert alone.agree(3.5, must_stop=True) == (3.5, True)
    assert alone.agree_on(False) is False
    assert alone.mean(torch.tensor([2.0])).tolist() == [2.0]
    assert alone.from_main("x") == "x"
    assert alone.gather([1, 2]) == [1, 2]
    alone.check_same_step(5)


def test_a_process_is_launched_when_it_has_a_rank(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (is_launched(), is_main_process()) == (False, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert (is_launched(), is_main_process()) == (True, True)
    monkeypatch.setenv("RANK", "1")
    assert (is_launched(), is_main_process()) == (True, False)
