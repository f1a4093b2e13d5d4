"""The tasks of this worker, in the order in which they are listed everywhere. The contract is in `contract.py`."""

from typing import Any

from ml_target.tasks.clip.task import CLIP
from ml_target.tasks.contract import Task
from ml_target.tasks.faces.task import FACES
from ml_target.tasks.ocr.task import OCR

TASKS: list[Task[Any, Any]] = [CLIP, FACES, OCR]
