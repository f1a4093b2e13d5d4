"""The parts of the report that touch the card, each in a process of its own: doctor, selfcheck, the networks' times."""

from collections.abc import Mapping
from dataclasses import dataclass

from ml_target.diagnostics.report.section import Outcome, Section, Tell, run_module

DOCTOR_S, SELFCHECK_S, TIMES_S = 60.0, 600.0, 300.0
BESIDES = 2500
"""Characters of what a process said besides, from the end."""


@dataclass(frozen=True, slots=True)
class Runs:
    """`environment`: of the processes. `tell` takes their progress."""

    environment: Mapping[str, str]
    tell: Tell

    def doctor(self) -> Section:
        """Findings, the wrong ones with their remedies for the summary."""
        outcome = self._run("ml_target.doctor", DOCTOR_S)
        section = _section("Doctor", outcome, 5000)
        lines = outcome.out.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("WRONG "):
                following = lines[number + 1].strip() if number + 1 < len(lines) else ""
                remedy = f" {following}" if following.startswith("->") else ""
                section.wrong.append(f"doctor: {' '.join(line.split()[1:])}{remedy}")
        if outcome.code == 0:
            section.right.append(f"doctor: {_last(outcome.out)}")
        elif not section.wrong:
            section.wrong.append(f"doctor: exit code {outcome.code}: {_last(outcome.err)}")
        return section

    def selfcheck(self) -> Section:
        """Its report, with the verdict for the summary."""
        outcome = self._run("ml_target.selfcheck", SELFCHECK_S, "checking:")
        section = _section("Selfcheck", outcome, 7000)
        verdict = _last(outcome.out)
        if outcome.code == 0:
            section.right.append(f"selfcheck: {verdict}")
        elif outcome.code is not None and outcome.code > 0:
            section.wrong.append(f"selfcheck: {verdict or _last(outcome.err)}")
        return section

    def times(self) -> Section:
        """A line a network."""
        outcome = self._run("ml_target.diagnostics.timing", TIMES_S, "timing:")
        section = _section("Times of the networks", outcome, 4000)
        section.wrong += [f"times: {' '.join(line.split())}" for line in outcome.out.splitlines() if "FAILED: " in line]
        return section

    def _run(self, module: str, seconds: float, *progress: str) -> Outcome:
        return run_module(module, [], self.environment, seconds, self.tell, progress)


def left_out(title: str, why: str) -> Section:
    """In the place of a run."""
    return Section(title, f"Left out: {why}")


def _section(title: str, outcome: Outcome, most: int) -> Section:
    """What a process printed, and how it ended where that was not of its own will."""
    section = Section(title, outcome.out or "(it printed nothing)", most=most)
    said = "\n".join(line for line in outcome.err.splitlines() if not line.startswith(("checking:", "timing:")))
    if outcome.ended:
        section.wrong.append(f"{title}: {outcome.ended}")
        section.text += f"\n\n{outcome.ended}"
    if said:
        section.text = f"{section.text[: most - BESIDES]}\n\nSaid besides:\n{said[-BESIDES:]}"
    section.text += f"\n\n({outcome.seconds:.0f} s)"
    return section


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
