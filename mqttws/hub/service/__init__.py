"""The hub's side of IoT Hub: decisions over records, without MQTT and without I/O.

Reading order: ``records`` (what is kept of a device), ``decisions`` (what a device's message does),
then the rules of each part: ``access``, ``session``, ``telemetry``, ``twin``, ``queue``,
``methods``, ``identity``, ``query``.
"""
