"""Sending a large file in chunks: over breaks of the connection, and over as many calls as that takes."""

import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from shlex import quote

from app.cli.answers import FcsUpload
from app.cli.call import Call
from app.cli.client import Answer
from app.cli.outcomes import Failed, Failure, NotPurser, Refused, Unreachable
from app.cli.output import Progress, size
from app.cli.transfers import EVERY_S, File, Meter, Source

ONE_REQUEST_BYTES = 32 * 2**20
"""What is no longer than this is sent in one request."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""So long a chunk waits before it is tried again, and so often: a service restarts in less."""
LONGEST_PAUSE_S = 120.0
COMPLETING_S = 900.0
"""So long the service may take to put the chunks together."""
PASSING = (429, 500, 502, 503, 504)


class Sending:
    """Sends a file of which there may be some at the service; when it fails it says how to go on.

    `path` and `name` are what the caller wrote, `called` is what the file is called there.
    """

    def __init__(self, call: Call, path: str, name: str | None, called: str) -> None:
        self._screen = call.screen
        self._client = call.client()
        self._patient = call.client(COMPLETING_S)
        self._again = f"pkgctl fcs upload {quote(path)}" + ("" if name is None else f" --name {quote(name)}")
        self._path = path
        self._called = called
        self._ours = False
        self._line: Callable[[], str] = str

    def begin(self, chunk_bytes: int | None) -> Answer:
        """Sends the whole; the answer is the file."""
        with File(self._path) as file:
            new = {"filename": self._called, "file_size": file.length, "sha256": self._sha256(file)}
            if chunk_bytes is not None:
                new["chunk_size"] = chunk_bytes
            self._ours = True
            return self._send(file, self._client.send("POST", "/fcs/uploads", body=new).decode(FcsUpload))

    def go_on(self, upload_id: int) -> Answer:
        """Sends what is missing; the answer is the file."""
        with File(self._path) as file:
            upload = self._client.get(f"/fcs/uploads/{upload_id}", FcsUpload)
            if upload.filename != self._called:
                raise Failed(
                    f"Upload {upload_id} is to be {upload.filename}, and not {self._called}; if that is the same file,"
                    f" say so: --name {quote(upload.filename)}"
                )
            if upload.file_size != file.length:
                told = f"{self._path} has {file.length} bytes, and upload {upload_id} is to have {upload.file_size}"
                raise Failed(f"{told}: it is another file")
            return self._send(file, upload)

    def _sha256(self, file: File) -> str:
        """Reads the whole file, as far as it is to be sent."""
        meter, found = Meter(f"reading {self._called}", file.length), sha256()
        with meter.shown(self._screen):
            for piece in Source(self._path, file.read, file.length, lambda: file.seek(0), meter).body.pieces():
                found.update(piece)
        return found.hexdigest()

    def _send(self, file: File, upload: FcsUpload) -> Answer:
        meter = Meter(self._called, file.length, upload.uploaded_bytes)
        self._line = meter.line
        try:
            with self._screen.progress(lambda: self._line(), EVERY_S) as progress:
                sent = set[int]()
                while upload.missing:
                    number = upload.missing[0]
                    if number in sent:
                        raise NotPurser(f"it asks for chunk {number} again, which it has taken")
                    sent.add(number)
                    upload = self._put(progress, file, upload, number, meter)
                return self._complete(progress, upload)
        except BaseException as failure:
            with suppress(Failure):
                self._tell(upload, failure)
            raise

    def _put(self, progress: Progress, file: File, upload: FcsUpload, number: int, meter: Meter) -> FcsUpload:
        at = number * upload.chunk_size
        length = min(upload.chunk_size, file.length - at)
        if number < 0 or length <= 0:
            raise NotPurser(f"it asks for chunk {number}, which there is not")
        chunk = Source(self._path, file.read, length, lambda: file.seek(at), meter, upload.uploaded_bytes)
        target = f"/fcs/uploads/{upload.id}/chunks/{number}"
        answer = _patiently(progress, f"chunk {number}", lambda: self._client.upload(target, {}, chunk.body))
        return answer.decode(FcsUpload)

    def _complete(self, progress: Progress, upload: FcsUpload) -> Answer:
        there = f"{size(upload.file_size)} are there, and are put together  {self._called}"
        self._line = lambda: there
        target = f"/fcs/uploads/{upload.id}/complete"
        return _patiently(progress, "the end", lambda: self._patient.send("POST", target))

    def _tell(self, upload: FcsUpload, failure: BaseException) -> None:
        """Says how to go on; where that is no use, gives up what this call has begun, or says how to."""
        status = failure.status if isinstance(failure, Refused) else None
        if status == 404:
            return
        if status != 400:
            there = f"{size(upload.uploaded_bytes)} of {size(upload.file_size)} are kept until {upload.expires_at}"
            self._screen.note(f"{there}; the rest goes with: {self._again} --resume {upload.id}")
        elif self._ours:
            self._client.send("DELETE", f"/fcs/uploads/{upload.id}")
        else:
            self._screen.note(f"To go on is no use; give it up: pkgctl fcs abort {upload.id}")


def _patiently(progress: Progress, what: str, send: Callable[[], Answer]) -> Answer:
    """The answer, after as many tries as there are pauses where the failure is one that passes."""
    for pause_s in PAUSES_S:
        try:
            return send()
        except (Refused, Unreachable) as failure:
            wait_s = _pause_s(failure, pause_s)
            if wait_s is None:
                raise
            progress.log(f"{what}: {failure}; once more in {wait_s:g} s\n")
            time.sleep(wait_s)
    return send()


def _pause_s(failure: Refused | Unreachable, pause_s: float) -> float | None:
    """So long to wait before another try, as the service asks or else `pause_s`; None: it would be of no use."""
    if isinstance(failure, Unreachable):
        return None if isinstance(failure, NotPurser) else pause_s
    if failure.status not in PASSING:
        return None
    asked_s = failure.retry_after_s
    if asked_s is None:
        return pause_s
    return asked_s if asked_s <= LONGEST_PAUSE_S else None
