"""The device's side of an IoT hub: values in, values out. No MQTT, no clock, no event loop."""
