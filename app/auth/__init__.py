"""Signing in: sessions with their refresh tokens, forgotten passwords, and what slows guessing down.

A session is a signed-in device. It lasts as long as it is refreshed in time, and ends by logout, by the using of a
refresh token twice, or with whatever raises the account's `session_epoch`. Its access token is a JWT that is looked up
like any other credential, so that it ends with the session and not at its own expiry.

Who has forgotten a password is mailed a code: a request is a row until it is seen to, a code until it is used or has
expired.
"""

TABLES = (
    "sessions",
    "refresh_tokens",
    "sign_in_failures",
    "sign_in_sources",
    "password_reset_requests",
    "password_resets",
)
