"""A Nix store of its own for each test: apart from /nix, without a network, as root and as an ordinary user alike."""

import os
from pathlib import Path

EXPRESSIONS = Path(__file__).parent / "nix"
FAKES = Path(__file__).parent / "fakes"

# Without `substitute = false` every build waits 5 s for a cache that it cannot reach.
_CONF = "substitute = false\nbuild-users-group =\nsandbox = false\n"


def private_store(folder: Path) -> dict[str, str]:
    """The variables under which every Nix program uses a store inside `folder` and nothing of this machine's."""
    conf = folder / "nix-conf"
    conf.mkdir(parents=True, exist_ok=True)
    (conf / "nix.conf").write_text(_CONF)
    return {
        "NIX_STORE_DIR": str(folder / "nix-store"),
        "NIX_STATE_DIR": str(folder / "nix-state"),
        "NIX_LOG_DIR": str(folder / "nix-log"),
        "NIX_CONF_DIR": str(conf),
        "NIX_REMOTE": "",
    }


def nix_environment(folder: Path, **more: str) -> dict[str, str]:
    """What a service on this machine would inherit, with a private store; `more` is added."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **private_store(folder), **more}
