"""The table of contents: every route of Purser, with its permission on its line. Nothing else."""

from app.audit import routes as audit
from app.auth import routes as auth
from app.documents import routes as documents
from app.fcs import routes as fcs
from app.files import routes as files
from app.folders import routes as folders
from app.groups import routes as groups
from app.packages import routes as packages
from app.roles import routes as roles
from app.system import routes as system
from app.teams import routes as teams
from app.tokens import routes as tokens
from app.users import routes as users
from app.web.access import under

API = "/api/v1"

ALIASES = {
    f"{API}/package": f"{API}/packages",
    f"{API}/token": f"{API}/tokens",
    f"{API}/upload": f"{API}/files/upload",
    "/auth": f"{API}/auth",
}
"""Path prefixes that stand for another one, tried when no route takes the path as it is."""


ROUTES = (
    *under(API, packages.ROUTES, tokens.ROUTES, auth.ROUTES, users.ROUTES, roles.ROUTES, groups.ROUTES, teams.ROUTES),
    *under(API, documents.ROUTES, folders.ROUTES, files.ROUTES, fcs.ROUTES),
    *under(API, audit.ROUTES, system.ROUTES),
    *system.ROOT_ROUTES,
)
"""All route lines with their whole paths, in the order in which they are tried."""
