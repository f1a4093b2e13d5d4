"""Logs that a task is on, and with which files, or that it is off, and why."""

import logging
from typing import Any

from ml_target.log.words import quoted
from ml_target.tasks.service import Service, describe_model

log = logging.getLogger("ml_target.worker")


def announce(label: str, service: Service[Any]) -> None:
    """A line for each network of a task that is on; for one that is off a warning, or an error where it is a fault."""
    if not service.on:
        log.log(logging.ERROR if service.fault else logging.WARNING, "task %s is OFF: %s", label, service.why_off)
        return
    for model in service.models:
        described = " ".join(f"{key}={quoted(value)}" for key, value in describe_model(model).items())
        log.info("task %s is on: %s", label, described)
