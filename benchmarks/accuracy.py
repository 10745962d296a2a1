"""How good a detector becomes in some minutes of a processor with the defaults, how soon, and from which start.

    python benchmarks/accuracy.py FOLDER... [--model 256] [--starts bundled] [--minutes 15] [--seeds 0,1] [--jobs 2]
    python benchmarks/accuracy.py --table [MINUTES]    the recorded runs of that length (15) as Markdown
    python benchmarks/accuracy.py --curves MINUTES     AP and AP50 on the way, of the runs of that length

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json (or annotation_example_*.json). Each training
is `multibox train` in a process of its own; with `--jobs`, several run side by side with their share of the processor.
The minutes are those of the whole command: reading, trial of starts, validations. What is recorded is not done again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

from common import RESULTS, read  # the modules beside this one
from trainings import Training, record_once, run_side_by_side, template_name, threads_of_each

TABLE = RESULTS / "accuracy.tsv"

USABLE = 0.9  # of the last AP
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of a run, where its learning curve is printed."""


def main() -> int:
    """Train what is not recorded yet, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--model", default="256", help="the size of an SSD, or the name of a template")
    parser.add_argument("--starts", default="bundled", help="weights to start from, with commas between")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--classes", default="")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", type=float, nargs="?", const=15, metavar="MINUTES")
    parser.add_argument("--curves", type=float, metavar="MINUTES")
    arguments = parser.parse_args()
    if arguments.table or arguments.curves:
        print(table(arguments.table) if arguments.table else curves(arguments.curves))
        return 0
    if not arguments.folders:
        parser.error("name folders, or --table, or --curves")
    trainings = [
        Training(
            folder,
            config=template_name(arguments.model),
            start=start,
            seed=seed,
            minutes=arguments.minutes,
            threads=threads_of_each(arguments.jobs),
            classes=arguments.classes,
        )
        for seed in map(int, arguments.seeds.split(","))
        for folder in arguments.folders
        for start in arguments.starts.split(",")
    ]
    run_side_by_side(arguments.jobs, [partial(run_once, training, arguments.model) for training in trainings])
    return 0


def run_once(training: Training, model: str) -> None:
    """Train, and record how it went, unless that is done."""
    known = {"model": model, "budget": training.minutes, "threads": training.threads}
    record_once(TABLE, known | training.name, training.run)


def results() -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The runs of each set, model, start, length and number of threads."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for r in read(TABLE):
        key = (r["data"], str(r["model"]), r["start"], f"{r['budget']:g}", str(r["threads"]))
        groups.setdefault(key, []).append(r)
    return dict(sorted(groups.items()))


def table(minutes: float) -> str:
    """One row per set, model and start, of runs of that length: means over seeds, with the lowest and the highest."""
    rows = [
        "| data | model | start | minutes | threads | seeds | steps | AP last | AP50 last | AP50 best | to 0.9 AP |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, runs in results().items():
        if key[3] != f"{minutes:g}":
            continue
        facts = [*key, str(len(runs)), f"{statistics.mean(r['steps'] for r in runs):.0f}"]
        facts += [spread([r[name] for r in runs], 3) for name in ("ap", "ap50", "best_ap50")]
        facts.append(spread([minutes_to_usable(r) for r in runs], 1))
        rows.append("| " + " | ".join(facts) + " |")
    return "\n".join(rows)


def curves(minutes: float) -> str:
    """One row per set, model and start: AP / AP50 on the way, means over seeds; a dash before all have validated."""
    rows = [
        "| data | model | start | seeds | " + " | ".join(f"{share * minutes:g} min" for share in SHARES) + " |",
        "|---|---|---|---|" + len(SHARES) * "---|",
    ]
    for (data, model, start, length, _), runs in results().items():
        if length == f"{minutes:g}":
            points = [[known_after(share * minutes, r) for r in runs] for share in SHARES]
            rows.append("| " + " | ".join([data, model, start, str(len(runs)), *map(mean_of, points)]) + " |")
    return "\n".join(rows)


def known_after(minutes: float, result: dict[str, Any]) -> tuple[float, float] | None:
    """AP and AP50 of the last validation by then, None before the first; at the end, of the last."""
    if minutes >= result["budget"]:
        return result["ap"], result["ap50"]
    known = [(ap, ap50) for at, ap, ap50 in result["curve"] if at <= minutes]
    return known[-1] if known else None


def mean_of(scores: list[tuple[float, float] | None]) -> str:
    """AP / AP50 over seeds, or a dash if one is not known."""
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return "-"
    return " / ".join(f"{statistics.mean(values):.3f}" for values in zip(*known, strict=True))


def minutes_to_usable(result: dict[str, Any]) -> float:
    """From the start of the command to the first validation with nearly the last AP."""
    return next(float(minutes) for minutes, ap, _ in result["curve"] if ap >= USABLE * result["ap"])


def spread(values: list[float], digits: int) -> str:
    """Mean, and the range if there are several."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
