"""What every test process starts from."""

import signal

# A suite started in the background may inherit an ignored SIGINT and hand it on: then nothing that a test starts could
# be stopped by Ctrl-C, which is what some of them are about.
signal.signal(signal.SIGINT, signal.default_int_handler)
