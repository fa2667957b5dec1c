"""What holds for all tests."""

from __future__ import annotations

import signal

# Whoever runs the tests in the background ignores Ctrl-C. What is ignored is inherited, also by programs that are
# interrupted here; what is caught is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)
