"""What a container says about its end: the file it may write, or the end of its log."""

from __future__ import annotations

import os
from typing import Any

from cluster.kubelet import logs
from cluster.kubelet.runtimes.base import Container

Object = dict[str, Any]

SIZE_BYTES_MAX = 4096
_LOG_LINES_MAX, _LOG_SIZE_BYTES_MAX = 80, 2048


class TerminationMessages:
    """Of one pod."""

    def __init__(self, data_dir: str, uid: str) -> None:
        self._folder = os.path.join(data_dir, "pods", uid, "messages")

    def file(self, name: str, attempt: int) -> str:
        return os.path.join(self._folder, name, str(attempt))

    def read(self, container: Object, ended: Container) -> str:
        try:
            with open(self.file(ended.name, ended.attempt), "rb") as file:
                text = file.read(SIZE_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return ""
        wants_log = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not text and wants_log and ended.exit_code != 0:
            return logs.last_text(ended.log_path, _LOG_LINES_MAX, _LOG_SIZE_BYTES_MAX)
        return text
