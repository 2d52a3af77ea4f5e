"""How property tests run: never against the clock of a busy machine, and in CI always with the same examples."""

import os

import hypothesis

hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "explore")
