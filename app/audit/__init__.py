"""What happened: one row per call with a credential, and one per change. A leaf room: any service may write to it.

The row of a successful change is written in the change's own transaction. The rows of reads and of refused calls are
gathered by `trail.Trail` and written in batches; whoever reads the trail finds all calls that ended before. What is too
old, or too much, `retention.Retention` removes; nothing else changes a row.
"""

TABLES = ("audit",)
