"""`python -m app` is `pkgctl`."""

import sys

from app.cli import main

sys.exit(main())
