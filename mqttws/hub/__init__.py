"""IoT Hub's topics, property bags and user names, built and parsed: no MQTT, no I/O."""
