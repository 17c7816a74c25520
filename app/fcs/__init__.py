"""Flow-cytometry files (FCS 2.0 to 3.2): uploaded whole or in chunks, read page by page, counted once, plotted.

A file is somebody's name for a content; a content is bytes (`app.blobs`) and what is known of them: how they are laid
out, and their statistics, which a process of its own computes once. A content goes with the last file that names it.
Statistics are `pending` until they are `done`, or `failed`: `failure` says why; asked for again after a minute, they
are tried again. An upload in chunks is `processing` until it is `completed`; it is forgotten after a
day.
"""

TABLES = ("fcs_contents", "fcs_files", "fcs_uploads", "fcs_chunks")
