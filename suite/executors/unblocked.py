"""The last import of the process that workers are forked from. It was begun deaf to Ctrl-C, so that one which comes
meanwhile is no traceback; from here on it ignores it by itself, and what else is forked from it has to hear it."""

import signal

while signal.SIGINT in signal.sigpending():
    signal.sigwait({signal.SIGINT})
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
