"""Files: names for blobs, in folders, shared with accounts, teams, or whoever has a link.

Bytes are kept once however often they are uploaded or copied (`app.blobs`), and never change; what changes is what a
file is called, where it lies, who has it. Quotas count files, not blobs. A share may end at an instant or after some
accesses; what comes through a team follows membership at the time of use.
"""

TABLES = ("files", "file_uploads", "file_shares", "file_accesses", "storage_use")
