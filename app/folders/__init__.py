"""Folders: one tree for each account, in which its files and documents lie.

Names are unique in their place. Deleting a folder deletes what is in it. A tree is at most 1,000 levels deep, and an
account has at most 20,000 folders.
"""

TABLES = ("folders",)
