"""Documents: titles and texts in folders, with tags, shared with accounts and teams, and what they were before.

Each change of title or text keeps what was; fifty such revisions stay. A search finds what contains the text, in any
script and without regard to case (`signs.py` spares it most of the reading).
"""

TABLES = (
    "documents",
    "document_texts",
    "document_signs",
    "document_revisions",
    "document_tags",
    "document_shares",
)
