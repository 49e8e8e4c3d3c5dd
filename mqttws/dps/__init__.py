"""Azure DPS as messages in, effects out: the device's side and the service's side.

Pure: no MQTT, no sockets, no clock, no randomness. Time, request ids, operation ids and jitter are
passed in, so that both sides run against each other with pretend time. Reading order:
``topics`` -> ``registration`` (the device) -> ``service``; ``names``, ``sas``, ``credentials`` and
``enrollments`` are what they stand on.
"""
