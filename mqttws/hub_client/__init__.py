"""A device's client for IoT Hub: telemetry, messages, methods and the twin, kept up by itself."""
