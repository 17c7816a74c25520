"""Purser: the control plane inside a small appliance. Start at app/README.md; `app.main.create_app` wires it all."""

__version__ = "0.1.0"
