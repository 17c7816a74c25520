"""Teams: accounts that share. Each has an owner, who is one of its members and says who the others are.

What is shared with a team follows membership at the time of use. When an owner's account is deleted, the member who has
been in the team longest owns it; a team with nobody left is none.
"""

TABLES = ("teams", "team_members")
