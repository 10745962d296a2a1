"""Programs that attack what docs/reliability.md promises, for as long as one likes; `python -m tests.attack --help`.

Not tests of pytest: those of each kind are in tests/unit and tests/e2e, and take seconds.
"""
