"""``python -m sstutils`` is the command ``sst``."""

from sstutils.cli import main

raise SystemExit(main())
