"""The parts of the report that touch the card, each in a process of its own: doctor, selfcheck, the networks' times."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml_target.diagnostics.checks import output
from ml_target.diagnostics.findings import as_text, from_json, verdict
from ml_target.diagnostics.progress import CHECKING, TIMING
from ml_target.diagnostics.report.process import Outcome, Tell, run_module
from ml_target.diagnostics.report.section import Section
from ml_target.diagnostics.report.times import read, table

DOCTOR_S, SELFCHECK_S, TIMES_S = 60.0, 600.0, 300.0
BESIDES = 2500
"""How many characters of a process's other output are kept, from the end."""


@dataclass(frozen=True, slots=True)
class Runs:
    """`environment`: for the processes. `tell`: receives their progress."""

    environment: Mapping[str, str]
    tell: Tell

    def doctor(self) -> Section:
        """Findings, the wrong ones with their remedies for the summary."""
        outcome = self._run("ml_target", DOCTOR_S, "doctor", "--json")
        try:
            found = from_json(_last(outcome.out))
        except (ValueError, TypeError):  # it did not finish
            section = _section("Doctor", outcome, 5000)
            section.wrong.append(f"doctor: exit code {outcome.code}: {_last(outcome.err)}")
            return section
        section = _section("Doctor", replace(outcome, out=f"{as_text(found)}\n\n{verdict(found)}"), 5000)
        for each in found:
            if each.ok is False:
                remedy = f" -> {each.remedy}" if each.remedy else ""
                section.wrong.append(f"doctor: {each.what} {each.detail}{remedy}")
        if outcome.code == 0:
            section.right.append(f"doctor: {verdict(found)}")
        return section

    def selfcheck(self) -> Section:
        """Its report, with the verdict for the summary."""
        outcome = self._run("ml_target", SELFCHECK_S, "selfcheck", "--json", progress=CHECKING)
        try:
            content = output.from_json(outcome.out)
        except ValueError:  # it did not finish
            section = _section("Selfcheck", outcome, 7000)
            if not outcome.ended:
                section.wrong.append(f"selfcheck: exit code {outcome.code}: {_last(outcome.err)}")
            return section
        section = _section("Selfcheck", replace(outcome, out=output.as_text(content)), 7000)
        if not outcome.ended:
            (section.wrong if outcome.code else section.right).append(f"selfcheck: {content['summary']}")
        return section

    def times(self) -> Section:
        """A line for each network."""
        outcome = self._run("ml_target.diagnostics.report.timing", TIMES_S, progress=TIMING)
        times = read(outcome.out)
        section = _section("Times of the networks", replace(outcome, out=table(times)), 4000)
        section.wrong += [f"times: {each.network} {each.engine} FAILED: {each.failed}" for each in times if each.failed]
        return section

    def _run(self, module: str, seconds: float, *arguments: str, progress: str = "") -> Outcome:
        return run_module(module, arguments, self.environment, seconds, self.tell, progress)


def left_out(title: str, why: str) -> Section:
    """A section in place of a run."""
    return Section(title, f"Left out: {why}")


def _section(title: str, outcome: Outcome, most: int) -> Section:
    """What a process printed and, if it did not exit by itself, how it ended."""
    section = Section(title, outcome.out or "(it printed nothing)", most=most)
    said = outcome.err
    if outcome.ended:
        section.wrong.append(f"{title}: {outcome.ended}")
        section.text += f"\n\n{outcome.ended}"
    if said:
        section.text = f"{section.text[: most - BESIDES]}\n\nSaid besides:\n{said[-BESIDES:]}"
    section.text += f"\n\n({outcome.seconds:.0f} s)"
    return section


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
