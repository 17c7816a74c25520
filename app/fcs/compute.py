"""The process that computes: `python -m app.fcs.compute` reads a Task from its standard input and writes the answer.

It ends when the service does, whose end of its standard input closes then; it keeps to the memory and the time that the
task allows, and gives way to the service.
"""

import os
import resource
import sys
import threading
from pathlib import Path

import msgspec

from app.fcs.plots import density, histogram
from app.fcs.statistics import statistics
from app.fcs.svg import density_svg, histogram_svg
from app.fcs.tasks import OUT_OF_MEMORY, DensityWish, HistogramWish, Task

NICENESS = 10
ABANDONED = 3


def main() -> int:
    """Does one task; the exit code is 0 when its answer is written."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    _settle(task)
    try:
        answer = _done(task)
    except MemoryError:
        return OUT_OF_MEMORY
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return 0


def _settle(task: Task) -> None:
    os.nice(NICENESS)
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_s, task.cpu_s))
    resource.setrlimit(resource.RLIMIT_DATA, (task.memory_bytes, task.memory_bytes))


def _end_with_the_service() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(ABANDONED)


def _done(task: Task) -> bytes:
    with open(task.path, "rb", buffering=0) as file:
        wish = task.wish
        if isinstance(wish, HistogramWish):
            counted = histogram(file, task.layout, task.parameters, wish.x, wish.bins)
            return histogram_svg(counted).encode() if wish.as_svg else msgspec.json.encode(counted)
        if isinstance(wish, DensityWish):
            found = density(file, task.layout, task.parameters, wish.x, wish.y, wish.bins)
            return density_svg(found).encode() if wish.as_svg else msgspec.json.encode(found)
        return msgspec.json.encode(statistics(file, task.layout, task.parameters, Path(wish.folder)))


if __name__ == "__main__":
    sys.exit(main())
