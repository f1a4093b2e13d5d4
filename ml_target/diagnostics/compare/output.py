"""The result in words and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ml_target import __version__
from ml_target.diagnostics.compare.asking import OURS, SIDES, THEIRS, Worker
from ml_target.diagnostics.compare.comparison import Comparison
from ml_target.log.private import without_login

MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Result:
    """`names`: which models both were asked for, where the names are from, and what is odd about the workers.

    `photos`: asked about; `of`: how many there are in the folder; `refused`: as in `Answers`.
    """

    workers: Mapping[str, Worker]
    names: tuple[str, ...]
    photos: int
    of: int
    comparisons: tuple[Comparison, ...]
    refused: Mapping[tuple[str, str], Mapping[str, int]]
    bundled: bool


def words(result: Result) -> str:
    """For a terminal."""
    names = " and ".join(f"{side} ({without_login(result.workers[side].url)})" for side in SIDES)
    blocks = [f"compared: {OURS} = we, {THEIRS} = they\n  {names}", "\n".join(result.names)]
    if result.bundled:
        blocks.append("These are bundled pictures: they show cosines. Name a folder of your own photos for verdicts.")
    elif result.of > result.photos:
        blocks.append(f"{result.photos:,} of {result.of:,} photos, spread over the folder; --most takes more")
    blocks += ["\n".join(_comparison(comparison)) for comparison in result.comparisons]
    blocks += ["\n".join(told)] if (told := refusals(result)) else []
    return "\n\n".join(blocks)


def as_json(result: Result) -> str:
    """For programs: figures by task and key, verdicts, and what was refused."""
    return json.dumps(
        {
            "version": __version__,
            "workers": {side: _worker(result.workers[side]) for side in SIDES},
            "photos": result.photos,
            "tasks": {
                each.task: {
                    "verdict": each.likeness.value,
                    "why": each.why,
                    "advice": each.advice,
                    "figures": {measure.key: measure.value for measure in each.measures},
                }
                for each in result.comparisons
            },
            "refused": [
                {"worker": side, "task": task, "why": why, "times": times}
                for (side, task), reasons in result.refused.items()
                for why, times in reasons.items()
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def _comparison(comparison: Comparison) -> list[str]:
    wide = max([len(measure.label) for measure in comparison.measures], default=0)
    measures = [f"  {measure.label:{wide}}  {measure.shown}" for measure in comparison.measures]
    verdict = f"  => {comparison.likeness.value}: {comparison.why}."
    return [f"{comparison.task}: {comparison.compared}", *measures, verdict, f"     {comparison.advice}"]


def refusals(result: Result) -> list[str]:
    """What was not answered, for each worker and task the most frequent reasons first."""
    told = []
    for (side, task), reasons in result.refused.items():
        often = sorted(reasons.items(), key=lambda each: -each[1])
        told += [f"not answered by {side}, {task}: {times:,} times {why}" for why, times in often[:MOST_REASONS]]
        if left := sum(times for _, times in often[MOST_REASONS:]):
            told.append(f"not answered by {side}, {task}: {left:,} times for other reasons")
    return told


def _worker(worker: Worker) -> dict[str, str]:
    return {"url": without_login(worker.url), "clip": worker.clip, "faces": worker.faces, "ocr": worker.text}
